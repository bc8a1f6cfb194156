DROP TABLE byo_providers;
DROP TABLE grants;
DROP TABLE escrow;
DROP TABLE rings;
DROP TABLE edges;
DROP TABLE tenant_keys;
DROP TABLE tenant_roots;
