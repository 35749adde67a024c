-- 99_preload: who makes the extension in a server that has not loaded it is told what is missing.

DO $$
BEGIN
	IF (SELECT m.since IS NULL FROM prom.stat_merge m) THEN
		RAISE WARNING USING MESSAGE = 'promgres is not preloaded',
			DETAIL = 'SQL works, but there are no workers: nothing is taken over HTTP, and nothing is merged by itself.',
			HINT = 'Add promgres to shared_preload_libraries and restart the server.';
	END IF;
END
$$;
