DO $script$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('pgflex ensure_pooler_access'));
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgflex_pooler') THEN
        CREATE ROLE pgflex_pooler;
    ELSIF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgflex_pooler' AND rolsuper) THEN
        RAISE EXCEPTION 'the role pgflex_pooler is a superuser';
    END IF;
    ALTER ROLE pgflex_pooler LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
        PASSWORD NULL VALID UNTIL 'infinity' CONNECTION LIMIT -1;
    ALTER ROLE pgflex_pooler RESET ALL;

    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'pgflex_service') THEN
        CREATE SCHEMA pgflex_service;
    ELSIF EXISTS (SELECT FROM pg_namespace
                  WHERE nspname = 'pgflex_service' AND nspowner <> current_user::regrole) THEN
        RAISE EXCEPTION 'the schema pgflex_service of database % belongs to somebody else: drop or rename it',
            current_database();
    END IF;
    REVOKE ALL ON SCHEMA pgflex_service FROM PUBLIC;
    GRANT USAGE ON SCHEMA pgflex_service TO pgflex_pooler;
END
$script$;

-- Who became the role in any other way than by logging in as it, which takes its certificate, is told nothing.
CREATE OR REPLACE FUNCTION pgflex_service.pooler_lookup(login text, OUT usename text, OUT passwd text)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $body$
    SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid
    WHERE rolname = login AND rolcanlogin AND NOT rolsuper AND NOT rolreplication
      AND rolname NOT IN ('pgflex_control', 'pgflex_pooler')
      AND rolpassword LIKE 'SCRAM-SHA-256$%'
      AND (rolvaliduntil IS NULL OR rolvaliduntil > now())
      AND session_user = 'pgflex_pooler'
$body$;
REVOKE ALL ON FUNCTION pgflex_service.pooler_lookup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgflex_service.pooler_lookup(text) TO pgflex_pooler;
