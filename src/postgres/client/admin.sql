DO $script$
DECLARE
    login    text := current_setting('pgflex.admin_login');
    verifier text := current_setting('pgflex.admin_verifier');
    major    int  := current_setting('server_version_num')::int / 10000;
    given    text[] := ARRAY['pg_monitor', 'pg_signal_backend', 'pg_read_all_data', 'pg_checkpoint'];
    role     text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('pgflex ensure_admin'));

    -- Before 16 whoever may create roles may also grant any role that is no superuser. These three lead
    -- out of the database to the files and programs of the container, so here they are superusers that
    -- nobody can become: only a superuser grants them.
    IF major < 16 THEN
        UPDATE pg_authid SET rolsuper = true
        WHERE rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
          AND NOT rolsuper;
    END IF;

    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgflex_admin') THEN
        CREATE ROLE pgflex_admin NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
        EXECUTE format('CREATE ROLE %I', login);
    ELSIF EXISTS (SELECT FROM pg_roles WHERE rolname = login AND rolsuper) THEN
        RAISE EXCEPTION 'the role % is a superuser and cannot be the administrator', login;
    END IF;
    EXECUTE format(
        'ALTER ROLE %I LOGIN INHERIT CREATEDB CREATEROLE NOSUPERUSER NOREPLICATION NOBYPASSRLS PASSWORD %L',
        login, verifier);

    IF major >= 16 THEN
        given := given || ARRAY['pg_create_subscription'];
        -- Roles that the administrator makes are the administrator's to use, as they were before 16.
        EXECUTE format('ALTER ROLE %I SET createrole_self_grant = %L', login, 'set, inherit');
    END IF;
    IF major >= 17 THEN
        given := given || ARRAY['pg_maintain'];
    END IF;
    FOREACH role IN ARRAY given LOOP
        EXECUTE format('GRANT %I TO pgflex_admin WITH ADMIN OPTION', role);
    END LOOP;
    EXECUTE format('GRANT pgflex_admin TO %I WITH ADMIN OPTION', login);

    EXECUTE 'GRANT ALL ON DATABASE postgres TO pgflex_admin WITH GRANT OPTION';
    EXECUTE 'ALTER SCHEMA public OWNER TO pgflex_admin';
END
$script$
