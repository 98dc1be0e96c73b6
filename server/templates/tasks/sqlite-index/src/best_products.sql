SELECT product, sum(quantity) FROM items JOIN orders ON orders.id = items.order_id
WHERE day BETWEEN :day AND :day + 7 GROUP BY product ORDER BY sum(quantity) DESC, product LIMIT 10;
