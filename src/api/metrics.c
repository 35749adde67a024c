/*
 * metrics.c
 *	  /metrics: promgres about itself, to be scraped.
 *
 * Requests are counted here as they end, by handler and status; what else the gateway knows is read when
 * it is asked.  What the database knows comes from prom._metrics(), which is cheap, and from
 * prom._metrics_sizes(), which is not quite: its answer is kept for SIZES_MS.  When the database does
 * not answer, the gateway tells of itself nevertheless, and promgres_up is 0.
 */
#include "postgres.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include "utils/memutils.h"

#include "api/expose.h"
#include "api/gateway.h"
#include "common/clock.h"

#define SIZES_MS			60000
#define DATABASE_MS			5000
#define MAX_CODES			24
#define OTHER				"other"
#define OWN_TYPE			"text/plain; version=0.0.4; charset=utf-8"

/* As Prometheus has them. */
static const double duration_bounds[] = {.1, .2, .4, 1, 3, 8, 20, 60, 120};
static const double size_bounds[] = {100, 1000, 10000, 100000, 1e6, 1e7, 1e8, 1e9};

typedef struct Histogram
{
	uint64		buckets[lengthof(duration_bounds)]; /* not cumulative */
	uint64		count;
	double		sum;
} Histogram;

/* What has become of the requests to one route. */
typedef struct Handler
{
	int			ncodes;
	struct
	{
		int			status;
		uint64		count;
	}			codes[MAX_CODES];
	Histogram	duration;
	Histogram	size;
} Handler;

static Handler *handlers = NULL;	/* by number of the route; the last one: no route */
static int	nhandlers = 0;
static TimestampTz started;

static char *sizes = NULL;		/* text, in the gateway's context */
static TimestampTz sizes_at = 0;

static void print_own(StringInfo out);
static void ask(PromRequest *r, const char *sql, void (*done) (PromJob *job));

/* ---- count ---- */

static void
start(void)
{
	while (prom_route_number(nhandlers) != NULL)
		nhandlers++;
	nhandlers++;
	handlers = MemoryContextAllocZero(prom_gateway_context, nhandlers * sizeof(Handler));
	started = GetCurrentTimestamp();
}

static Handler *
find_handler(const PromRoute *route)
{
	for (int i = 0; i < nhandlers - 1; i++)
	{
		if (prom_route_number(i) == route)
			return &handlers[i];
	}
	return &handlers[nhandlers - 1];
}

static void
observe(Histogram *h, const double *bounds, int n, double v)
{
	h->count++;
	h->sum += v;
	for (int i = 0; i < n; i++)
	{
		if (v <= bounds[i])
		{
			h->buckets[i]++;
			return;
		}
	}
}

/* A request whose client went before the answer has no status: 499, as it is called elsewhere. */
void
prom_metrics_count(const PromRequest *r)
{
	Handler    *h;
	int			status = r->status != 0 ? r->status : 499;
	int			i = 0;

	if (handlers == NULL)
		start();
	h = find_handler(r->route);
	while (i < h->ncodes && h->codes[i].status != status)
		i++;
	if (i == h->ncodes && i < MAX_CODES)
		h->codes[h->ncodes++].status = status;
	if (i < MAX_CODES)
		h->codes[i].count++;
	observe(&h->duration, duration_bounds, lengthof(duration_bounds), (GetCurrentTimestamp() - r->begun) / 1e6);
	observe(&h->size, size_bounds, lengthof(size_bounds),
			prom_stream_begun(r) ? (double) prom_stream_sent(r) : r->answer.len);
}

/* ---- print ---- */

static void
print_head(StringInfo out, const char *name, const char *type, const char *help)
{
	appendStringInfo(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* labels: without braces, "" for none */
static void
print_sample(StringInfo out, const char *name, const char *labels, double v)
{
	appendStringInfoString(out, name);
	if (labels[0] != '\0')
		appendStringInfo(out, "{%s}", labels);
	appendStringInfoCharMacro(out, ' ');
	prom_expose_number(out, v);
	appendStringInfoCharMacro(out, '\n');
}

static void
print_one(StringInfo out, const char *name, const char *type, const char *help, double v)
{
	print_head(out, name, type, help);
	print_sample(out, name, "", v);
}

static void
print_histogram(StringInfo out, const char *name, const char *handler, const Histogram *h, const double *bounds, int n)
{
	uint64		sum = 0;

	for (int i = 0; i < n; i++)
	{
		sum += h->buckets[i];
		appendStringInfo(out, "%s_bucket{handler=\"%s\",le=\"", name, handler);
		prom_expose_number(out, bounds[i]);
		appendStringInfo(out, "\"} " UINT64_FORMAT "\n", sum);
	}
	appendStringInfo(out, "%s_bucket{handler=\"%s\",le=\"+Inf\"} " UINT64_FORMAT "\n", name, handler, h->count);
	appendStringInfo(out, "%s_sum{handler=\"%s\"} ", name, handler);
	prom_expose_number(out, h->sum);
	appendStringInfo(out, "\n%s_count{handler=\"%s\"} " UINT64_FORMAT "\n", name, handler, h->count);
}

static const char *
handler_name(int i)
{
	const PromRoute *route = prom_route_number(i);

	return route != NULL ? route->path : OTHER;
}

/* Several rows of the table of routes may have one path; they are told as one. */
static bool
is_first_of_path(int i)
{
	for (int k = 0; k < i; k++)
	{
		if (strcmp(handler_name(k), handler_name(i)) == 0)
			return false;
	}
	return true;
}

static void
add_histogram(Histogram *to, const Histogram *h)
{
	to->count += h->count;
	to->sum += h->sum;
	for (int i = 0; i < lengthof(h->buckets); i++)
		to->buckets[i] += h->buckets[i];
}

static void
print_histograms(StringInfo out, const char *name, const char *help, size_t offset, const double *bounds, int n)
{
	print_head(out, name, "histogram", help);
	for (int i = 0; i < nhandlers; i++)
	{
		Histogram	sum = {0};

		if (!is_first_of_path(i))
			continue;
		for (int k = i; k < nhandlers; k++)
		{
			if (strcmp(handler_name(k), handler_name(i)) == 0)
				add_histogram(&sum, (Histogram *) ((char *) &handlers[k] + offset));
		}
		if (sum.count > 0)
			print_histogram(out, name, handler_name(i), &sum, bounds, n);
	}
}

static uint64
count_code(int handler, int status)
{
	uint64		count = 0;

	for (int k = handler; k < nhandlers; k++)
	{
		if (strcmp(handler_name(k), handler_name(handler)) != 0)
			continue;
		for (int i = 0; i < handlers[k].ncodes; i++)
			count += handlers[k].codes[i].status == status ? handlers[k].codes[i].count : 0;
	}
	return count;
}

static void
print_requests(StringInfo out)
{
	print_head(out, "prometheus_http_requests_total", "counter", "Requests answered, by handler and status.");
	for (int i = 0; i < nhandlers; i++)
	{
		for (int status = 100; is_first_of_path(i) && status < 600; status++)
		{
			uint64		count = count_code(i, status);

			if (count > 0)
				print_sample(out, "prometheus_http_requests_total",
							 psprintf("code=\"%d\",handler=\"%s\"", status, handler_name(i)), count);
		}
	}
	print_histograms(out, "prometheus_http_request_duration_seconds", "Time from the request line to the end of the answer.",
					 offsetof(Handler, duration), duration_bounds, lengthof(duration_bounds));
	print_histograms(out, "prometheus_http_response_size_bytes", "Size of answers.",
					 offsetof(Handler, size), size_bounds, lengthof(size_bounds));
}

static void
print_pools(StringInfo out)
{
	static const char *const names[] = {"ingest", "query", "control"};
	PromPoolLook looks[] = {prom_pool_look(prom_pool_ingest), prom_pool_look(prom_pool_query), prom_pool_look(prom_pool_control)};

	print_head(out, "promgres_pool_connections", "gauge", "Connections to the database that a pool may have (max), has (open), and that work (busy).");
	for (int i = 0; i < lengthof(looks); i++)
	{
		print_sample(out, "promgres_pool_connections", psprintf("pool=\"%s\",state=\"max\"", names[i]), looks[i].size);
		print_sample(out, "promgres_pool_connections", psprintf("pool=\"%s\",state=\"open\"", names[i]), looks[i].open);
		print_sample(out, "promgres_pool_connections", psprintf("pool=\"%s\",state=\"busy\"", names[i]), looks[i].busy);
	}
	print_one(out, "prometheus_engine_queries", "gauge", "Queries that run now.", looks[1].busy);
	print_one(out, "prometheus_engine_queries_concurrent_max", "gauge", "Queries that can run at once: promgres.query_connections.", looks[1].size);
	print_one(out, "promgres_query_queue_length", "gauge", "Queries that wait for a connection.", looks[1].queued);
}

static double
seconds_of(struct timeval t)
{
	return t.tv_sec + t.tv_usec / 1e6;
}

static int
count_fds(void)
{
	DIR		   *dir = opendir("/proc/self/fd");
	int			n = -3;			/* . and .. and the directory */

	if (dir == NULL)
		return -1;
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

/* The process of the gateway, under the names of every client library. */
static void
print_process(StringInfo out)
{
	struct rusage usage;
	struct rlimit limit;
	FILE	   *statm = fopen("/proc/self/statm", "r");
	unsigned long virtual_pages;
	unsigned long resident_pages;

	getrusage(RUSAGE_SELF, &usage);
	print_one(out, "process_cpu_seconds_total", "counter", "CPU time of the gateway, user and system.",
			  seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
	if (statm != NULL)
	{
		if (fscanf(statm, "%lu %lu", &virtual_pages, &resident_pages) == 2)
		{
			print_one(out, "process_resident_memory_bytes", "gauge", "Resident memory of the gateway, what it touched of shared memory included.",
					  (double) resident_pages * sysconf(_SC_PAGESIZE));
			print_one(out, "process_virtual_memory_bytes", "gauge", "Virtual memory of the gateway.",
					  (double) virtual_pages * sysconf(_SC_PAGESIZE));
		}
		fclose(statm);
	}
	print_one(out, "promgres_gateway_memory_bytes", "gauge", "Memory that the gateway has allocated for itself and for requests.",
			  (double) MemoryContextMemAllocated(prom_gateway_context, true));
	if (count_fds() >= 0)
		print_one(out, "process_open_fds", "gauge", "Open file descriptors of the gateway.", count_fds());
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		print_one(out, "process_max_fds", "gauge", "File descriptors it may have.", (double) limit.rlim_cur);
	print_one(out, "process_start_time_seconds", "gauge", "When the gateway was started.", prom_clock_to_ms(started) / 1000.0);
}

static void
print_own(StringInfo out)
{
	size_t		queued_bytes;
	size_t		bodies;
	size_t		answers;
	int			queued = prom_write_queue(&queued_bytes);

	if (handlers == NULL)
		start();
	print_head(out, "promgres_build_info", "gauge", "1; the labels tell versions.");
	print_sample(out, "promgres_build_info",
				 psprintf("version=\"%s\",prometheus_api=\"%s\",postgres_version=\"%s\"", PROM_VERSION, PROM_META_VERSION, PG_VERSION), 1);
	print_requests(out);
	prom_request_memory(&bodies, &answers);
	print_one(out, "promgres_http_connections", "gauge", "Clients that are connected.", prom_request_clients());
	print_one(out, "promgres_http_connections_max", "gauge", "Clients that may be: promgres.max_connections.", prom_gateway_max_connections);
	print_one(out, "promgres_http_requests_in_flight", "gauge", "Requests that are being answered.", prom_request_working());
	print_one(out, "promgres_http_request_body_bytes", "gauge", "Memory that bodies of requests take.", (double) bodies);
	print_one(out, "promgres_http_response_bytes", "gauge", "Memory that answers of queries take.", (double) answers);
	print_one(out, "promgres_write_queue_length", "gauge", "Remote write bodies that wait to be stored.", queued);
	print_one(out, "promgres_write_queue_bytes", "gauge", "Bytes of remote write bodies that wait to be stored.", (double) queued_bytes);
	print_pools(out);
	print_process(out);
}

/* ---- ask the database ---- */

/* Rows (name, type, help, labels, value): a family's help and type stand before its first row. */
static void
print_rows(StringInfo out, PGresult *rows, char **family)
{
	const char *name = PQgetvalue(rows, 0, 0);

	if (*family == NULL || strcmp(*family, name) != 0)
	{
		print_head(out, name, PQgetvalue(rows, 0, 1), PQgetvalue(rows, 0, 2));
		*family = pstrdup(name);
	}
	if (!PQgetisnull(rows, 0, 4))
		print_sample(out, name, PQgetvalue(rows, 0, 3), strtod(PQgetvalue(rows, 0, 4), NULL));
}

/* The rows of one function, and what they belong to before. */
typedef struct Asked
{
	PromRequest *request;
	StringInfoData text;
	char	   *family;
} Asked;

static void
take_row(PromJob *job, PGresult *rows)
{
	Asked	   *asked = job->owner;
	MemoryContext old = MemoryContextSwitchTo(asked->request->context);

	/* the look for the extension has one column */
	asked->request->has_extension = true;
	if (PQnfields(rows) > 1)
		print_rows(&asked->text, rows, &asked->family);
	MemoryContextSwitchTo(old);
}

static void
finish(PromRequest *r, const char *text, bool up)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);

	initStringInfo(&r->answer);
	print_own(&r->answer);
	appendStringInfoString(&r->answer, text);
	if (sizes != NULL)
		appendStringInfoString(&r->answer, sizes);
	print_one(&r->answer, "promgres_up", "gauge", "1 if the database answers and has the extension.", up ? 1 : 0);
	MemoryContextSwitchTo(old);
	prom_answer_ready(r, 200, OWN_TYPE);
}

static void
metrics_done(PromJob *job)
{
	Asked	   *asked = job->owner;

	finish(asked->request, job->outcome.ok ? asked->text.data : "", job->outcome.ok);
}

static void
sizes_done(PromJob *job)
{
	Asked	   *asked = job->owner;

	/* old ones stay if somebody has locked a table; that is not tried at each scrape */
	sizes_at = GetCurrentTimestamp();
	if (job->outcome.ok)
	{
		if (sizes != NULL)
			pfree(sizes);
		sizes = MemoryContextStrdup(prom_gateway_context, asked->text.data);
	}
	ask(asked->request, "SELECT * FROM prom._metrics()", metrics_done);
}

/* A function that is not there would be an error in the server's log. */
static void
extension_done(PromJob *job)
{
	PromRequest *r = ((Asked *) job->owner)->request;

	if (!r->has_extension)
		finish(r, "", false);
	else if (sizes_at == 0 || TimestampDifferenceExceeds(sizes_at, GetCurrentTimestamp(), SIZES_MS))
		ask(r, "SELECT * FROM prom._metrics_sizes()", sizes_done);
	else
		ask(r, "SELECT * FROM prom._metrics()", metrics_done);
}

static void
ask(PromRequest *r, const char *sql, void (*done) (PromJob *job))
{
	MemoryContext old = MemoryContextSwitchTo(r->context);
	Asked	   *asked = palloc0(sizeof(Asked));

	asked->request = r;
	initStringInfo(&asked->text);
	memset(&r->job, 0, sizeof(r->job));
	r->job.sql = sql;
	r->job.timeout_ms = DATABASE_MS;
	r->job.rows = take_row;
	r->job.done = done;
	r->job.owner = asked;
	MemoryContextSwitchTo(old);
	if (!prom_pool_submit(prom_pool_control, &r->job))
		finish(r, "", false);
}

void
prom_metrics_run(PromRequest *r)
{
	prom_request_suspend(r);
	ask(r, "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'promgres'", extension_done);
}
