SELECT country, sum(total) FROM orders JOIN customers ON customers.id = customer
WHERE status = 'paid' AND joined >= :day GROUP BY country ORDER BY country;
