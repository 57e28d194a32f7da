CREATE PUBLICATION capture FOR ALL TABLES WITH (publish_via_partition_root = true);

CREATE TYPE mood AS ENUM ('sad', 'so so', 'ok');

CREATE DOMAIN price AS numeric(12, 2) CHECK (value >= 0);

CREATE TYPE pair AS (a int, b text);

CREATE TABLE kinds (
    id int8 PRIMARY KEY, flag bool, small int2, whole int4, real4 float4, real8 float8,
    exact numeric, money numeric(12, 2), letters text, short varchar(20), fixed char(4),
    raw bytea, day date, clock time, clockz timetz(3), moment timestamp, momentz timestamptz,
    span interval, ident uuid, doc json, docb jsonb, bits bit(4), host inet, net cidr,
    mac macaddr, range int4range, spans int4multirange, mood mood, price price, pair pair,
    numbers int4[], words text[], moods mood[], place point, search tsvector, lsn pg_lsn
);

INSERT INTO kinds (id) VALUES (0);

INSERT INTO kinds VALUES
    (1, true, -32768, 2147483647, 1.1, 'NaN', 'NaN', 1.5, e'tab\tline\nquote" back\\ \x01 ä 🐘', '', 'ab',
     '\x00ff10', 'infinity', '24:00', '12:00:00.5-03:30', 'infinity', '2024-02-29 12:00:00.25+02',
     '1 year -2 mons 3 days -04:05:06.7', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
     e'{"a":\n "\\u0000\\ud800"}', '{"b": [1, 1e400, null]}', '1010', '10.1.2.3/8', '10.0.0.0/8',
     '08:00:2b:01:02:03', '[1,5)', '{[1,3),[5,7)}', 'so so', 9.99, '(1,"a ""b""")',
     '[0:1]={5,NULL}', '{NULL,"NULL","","a,b","q\"q"}', '{sad,"so so"}', '(1,2)',
     'a:1 b:2', '0/16B3748'),
    (2, false, 0, 0, '-Infinity', 5e-324, -0.00, 0, '', NULL, '', '', '0044-03-15 BC', '00:00',
     '00:00+00', '0001-01-01', '4713-01-01 BC', '0', NULL, 'null', '""', NULL, '::1', '::/0', NULL,
     'empty', '{}', 'ok', 0, NULL, '{}', '{{a},{b}}', '{}', NULL, '', NULL);

UPDATE kinds SET letters = repeat('x', 2000), numbers = '{1,2,3}' WHERE id > 0;

CREATE TABLE big (id int PRIMARY KEY, note text, n int DEFAULT 0);

ALTER TABLE big ALTER note SET STORAGE EXTERNAL;

INSERT INTO big (id, note) SELECT g, repeat(g::text, 5000) FROM generate_series(1, 5) g;

UPDATE big SET n = n + 1;

UPDATE big SET id = id + 100 WHERE id = 3;

ALTER TABLE big REPLICA IDENTITY FULL;

UPDATE big SET n = n + 1;

DELETE FROM big WHERE id = 1;

ALTER TABLE big REPLICA IDENTITY DEFAULT;

DELETE FROM big WHERE id = 2;

CREATE TABLE swap (k int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text);

ALTER TABLE swap REPLICA IDENTITY FULL;

INSERT INTO swap VALUES (1, 'a'), (2, 'b');

UPDATE swap SET k = 3 - k;

CREATE TABLE twofold (b text, n int, a int NOT NULL, u text NOT NULL, PRIMARY KEY (n, b));

CREATE UNIQUE INDEX twofold_index ON twofold (u, a);

INSERT INTO twofold SELECT 'b' || g, g, -g, 'u' || g FROM generate_series(1, 4) g;

UPDATE twofold SET n = n * 10;

ALTER TABLE twofold REPLICA IDENTITY USING INDEX twofold_index;

UPDATE twofold SET u = u || '!' WHERE n > 10;

DELETE FROM twofold WHERE n = 40;

CREATE TABLE plain (a int, b text);

ALTER TABLE plain REPLICA IDENTITY FULL;

INSERT INTO plain VALUES (1, 'x'), (1, 'x'), (2, NULL);

DELETE FROM plain WHERE a = 2;

DO $$ BEGIN
    INSERT INTO swap VALUES (10, 'before');
    ALTER TABLE swap ADD extra text DEFAULT 'new';
    INSERT INTO swap VALUES (11, 'after', 'x');
    ALTER TABLE swap RENAME v TO w;
    ALTER TABLE swap ALTER k TYPE int8;
    INSERT INTO swap VALUES (12, 'wide', 'y');
    ALTER TABLE swap DROP extra;
    UPDATE swap SET w = w || '.' WHERE k >= 10;
END $$;

DO $$ BEGIN
    INSERT INTO plain VALUES (7, 'kept');
    BEGIN
        INSERT INTO plain VALUES (8, 'undone');
        RAISE EXCEPTION 'back';
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
    INSERT INTO plain VALUES (9, 'kept');
END $$;

CREATE TABLE gone (id int PRIMARY KEY, up int REFERENCES big);

INSERT INTO gone VALUES (1, 4);

CREATE TABLE emptied (id int PRIMARY KEY);

INSERT INTO emptied SELECT generate_series(1, 100);

TRUNCATE gone, emptied RESTART IDENTITY CASCADE;

INSERT INTO emptied VALUES (1000);

CREATE TABLE parts (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);

CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu');

CREATE TABLE parts_us PARTITION OF parts FOR VALUES IN ('us');

INSERT INTO parts VALUES (1, 'eu', 1), (2, 'us', 2);

UPDATE parts SET region = 'us' WHERE id = 1;

CREATE TABLE computed (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED);

INSERT INTO computed (id, a) VALUES (1, 21);

CREATE TABLE "we""ird.🐘" ("%s" int PRIMARY KEY, "a b" text);

INSERT INTO "we""ird.🐘" VALUES (1, 'x');

SELECT pg_logical_emit_message(true, 'audit', 'who did it');

SELECT pg_logical_emit_message(false, 'beat', 'alive');
