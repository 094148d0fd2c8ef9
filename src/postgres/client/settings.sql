WITH in_file AS MATERIALIZED (
    SELECT lower(name) AS name, setting, applied, error, seqno FROM pg_file_settings
)
SELECT s.name,
       -- What our own session set for itself is not what the server has.
       CASE WHEN s.source IN ('client', 'session', 'user', 'database', 'database user')
            THEN coalesce((SELECT f.setting FROM in_file f WHERE f.name = lower(s.name) AND f.applied
                           ORDER BY f.seqno DESC LIMIT 1), s.boot_val)
            ELSE s.setting END,
       s.boot_val, s.unit, s.vartype, s.context, s.category, s.short_desc,
       s.min_val, s.max_val, s.enumvals, s.pending_restart
FROM pg_settings s
ORDER BY lower(s.name)
LIMIT 1000
