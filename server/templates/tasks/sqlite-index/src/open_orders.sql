SELECT id, total FROM orders WHERE customer = :customer AND status = 'open' ORDER BY day DESC, id;
