SELECT id FROM customers WHERE country = :country
AND id NOT IN (SELECT customer FROM orders WHERE day >= :day) ORDER BY id;
