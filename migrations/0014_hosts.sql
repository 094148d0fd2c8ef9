-- Hosts over TCP with TLS, of the configuration file or added on the Hosts page.
ALTER TABLE hosts ADD COLUMN member_address TEXT NOT NULL DEFAULT '';
ALTER TABLE hosts ADD COLUMN origin TEXT NOT NULL DEFAULT 'File';
ALTER TABLE hosts ADD COLUMN sealed_tls BYTEA;
ALTER TABLE hosts ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
