DROP TABLE admin_events;
DROP TABLE change_log;
DROP TABLE change_head;
DROP TABLE journal_positions;
DROP TABLE entry_tags;
DROP TABLE entries;
DROP TABLE virtual_keys;
DROP TABLE tenants;
