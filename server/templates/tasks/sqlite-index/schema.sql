-- The tables, as the judge makes them. For reading: a change here changes nothing.
CREATE TABLE customers (id INTEGER PRIMARY KEY, country TEXT, joined INTEGER);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, day INTEGER, status TEXT, total INTEGER);
CREATE TABLE items (id INTEGER PRIMARY KEY, order_id INTEGER, product INTEGER, quantity INTEGER, price INTEGER);
