/*
 * page.c
 *	  The page to explore with, and its files.
 *
 * The bundle that web/ builds lies in the library itself (.incbin, at compile time, plain and
 * compressed), so that page and server are always of one version and nothing has to be found or read.
 * Addresses within the page are relative: it does not know below which prefix it is served.
 *
 * A file is asked for as name?v=hash, as it stands in the page, and may then be kept for ever; under
 * any other address, and the page itself, it must be asked for again, which the ETag makes cheap.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"

#include "api/gateway.h"
#include "common/clock.h"

#define NS_PER_MS INT64CONST(1000000)
#define NS_PER_S INT64CONST(1000000000)

/* Everything from this server, nothing written into the page itself. */
#define PAGE_POLICY \
	"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; object-src 'none'"

#define EMBED(label, file) \
	"\t.global " label "\n\t.hidden " label "\n" \
	label ":\n\t.incbin \"" file "\"\n" \
	"\t.global " label "_end\n\t.hidden " label "_end\n" \
	label "_end:\n\t.byte 0\n"

#define PAGE_FILE(name, file) \
	__asm__("\t.pushsection .rodata\n" \
			EMBED("prom_page_" #name, "web/dist/" file) \
			EMBED("prom_page_" #name "_gz", "web/dist/" file ".gz") \
			"\t.popsection\n"); \
	extern const char prom_page_##name[] pg_attribute_hidden; \
	extern const char prom_page_##name##_end[] pg_attribute_hidden; \
	extern const char prom_page_##name##_gz[] pg_attribute_hidden; \
	extern const char prom_page_##name##_gz_end[] pg_attribute_hidden

#define pg_attribute_hidden __attribute__((visibility("hidden")))

PAGE_FILE(index, "index.html");
PAGE_FILE(script, "app.js");
PAGE_FILE(style, "app.css");
PAGE_FILE(icon, "icon.svg");
PAGE_FILE(licences, "licences.txt");

typedef struct PageFile
{
	const char *name;			/* below /assets/ */
	const char *content_type;
	const char *plain;
	const char *plain_end;
	const char *gzip;
	const char *gzip_end;
} PageFile;

#define PAGE_ROW(file, type, name) \
	{file, type, prom_page_##name, prom_page_##name##_end, prom_page_##name##_gz, prom_page_##name##_gz_end}

static const PageFile page = PAGE_ROW("index.html", "text/html; charset=utf-8", index);

static const PageFile files[] = {
	PAGE_ROW("app.js", "text/javascript; charset=utf-8", script),
	PAGE_ROW("app.css", "text/css; charset=utf-8", style),
	PAGE_ROW("icon.svg", "image/svg+xml", icon),
	PAGE_ROW("licences.txt", "text/plain; charset=utf-8", licences),
};

static void send_file(PromRequest *r, const PageFile *file, bool is_page);
static bool is_current(PromRequest *r, const PageFile *file);

void
prom_page_run(PromRequest *r)
{
	send_file(r, &page, true);
}

void
prom_page_file_run(PromRequest *r)
{
	const char *name = r->path + strlen("/assets/");

	for (int i = 0; i < lengthof(files); i++)
	{
		if (strcmp(files[i].name, name) == 0)
		{
			send_file(r, &files[i], false);
			return;
		}
	}
	prom_answer_text(r, 404, "404 page not found\n");
}

static void
send_file(PromRequest *r, const PageFile *file, bool is_page)
{
	const char *encoding = prom_encoding_accepted(MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "Accept-Encoding"));
	bool		compressed = encoding != NULL && strcmp(encoding, "gzip") == 0;
	size_t		plain_len = file->plain_end - file->plain;
	uint64		hash = hash_bytes_extended((const unsigned char *) file->plain, plain_len, 0);
	char	   *etag = psprintf("\"%016" INT64_MODIFIER "x%s\"", hash, compressed ? "-gzip" : "");
	const char *known = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, "If-None-Match");
	bool		for_ever = !is_page && is_current(r, file);

	prom_answer_header(r, "ETag", etag);
	prom_answer_header(r, "Cache-Control", for_ever ? "public, max-age=31536000, immutable" : "no-cache");
	prom_answer_header(r, "X-Content-Type-Options", "nosniff");
	if (is_page)
	{
		prom_answer_header(r, "Content-Security-Policy", PAGE_POLICY);
		prom_answer_header(r, "Referrer-Policy", "no-referrer");
	}
	if (known != NULL && strstr(known, etag) != NULL)
	{
		prom_answer_empty(r, 304);
		return;
	}
	if (compressed)
		r->content_encoding = "gzip";
	prom_answer_static(r, file->content_type, compressed ? file->gzip : file->plain,
					   compressed ? file->gzip_end - file->gzip : plain_len);
}

/* Are these the bytes that the page means by this address?  Another release may have asked. */
static bool
is_current(PromRequest *r, const PageFile *file)
{
	return strstr(page.plain, psprintf("\"assets/%s?v=%s\"", file->name, prom_request_param(r, "v"))) != NULL;
}

/* ---- what the page asks, beyond Prometheus' API ---- */

/* Run a query and tell its SQL, what it read, and with plan=true PostgreSQL's own plan. */
void
prom_explain_run(PromRequest *r)
{
	bool		instant = prom_request_param(r, "step")[0] == '\0';
	int64		start_ms;
	int64		end_ms;
	int64		step_ns = NS_PER_S;

	if (!prom_thanos_check(r) || !prom_param_timeout(r, &r->job.timeout_ms))
		return;
	if (instant)
	{
		if (!prom_param_time_or(r, "time", prom_clock_to_ms(GetCurrentTimestamp()), &start_ms))
			return;
		end_ms = start_ms;
	}
	else if (!prom_query_steps(r, &start_ms, &end_ms, &step_ns))
		return;

	r->job.sql = "SELECT prom._api_explain($1, $2, $3, $4, $5, $6)";
	r->job.parameter = "query";
	prom_job_param(&r->job, TEXTOID, prom_request_param(r, "query"));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, start_ms));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, end_ms));
	prom_job_param(&r->job, INT8OID, psprintf(INT64_FORMAT, step_ns / NS_PER_MS));
	prom_job_param(&r->job, BOOLOID, instant ? "true" : "false");
	prom_job_param(&r->job, BOOLOID, strcmp(prom_request_param(r, "plan"), "true") == 0 ? "true" : "false");
	prom_thanos_add(r);
	prom_request_ask(r, prom_pool_query);
}

/* What the server does and holds; with rows=true also what each generation of each day does. */
void
prom_page_status_run(PromRequest *r)
{
	r->job.sql = "SELECT prom._api_status($1)";
	r->job.timeout_ms = prom_gateway_query_timeout_ms;
	prom_job_param(&r->job, BOOLOID, strcmp(prom_request_param(r, "rows"), "true") == 0 ? "true" : "false");
	prom_request_ask(r, prom_pool_query);
}
