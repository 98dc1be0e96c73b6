-- Runs once, before the queries. CREATE INDEX and ANALYZE are all that is allowed here.
CREATE INDEX orders_by_status ON orders (status);
