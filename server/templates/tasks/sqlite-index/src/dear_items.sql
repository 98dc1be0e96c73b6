SELECT id, price FROM items WHERE product = :product
AND price > (SELECT avg(price) FROM items AS other WHERE other.product = items.product) ORDER BY id;
