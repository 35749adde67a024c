/*
 * gateway.h
 *	  What the files of the gateway share: watches, pools and jobs, requests.  Private to this room.
 *
 * A request comes in through libmicrohttpd, becomes a job of a pool, is suspended until a backend
 * has done the job, and is answered.  All of it happens in one process and one thread.
 */
#ifndef PROM_GATEWAY_H
#define PROM_GATEWAY_H

#include "postgres.h"

#include <microhttpd.h>

#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "libpq-fe.h"
#include "nodes/pg_list.h"
#include "utils/timestamp.h"

/* ---- gateway.c ---- */

/* Somebody who waits for a file descriptor. */
typedef struct PromWatch
{
	void		(*ready) (void *owner, uint32 events);
	void	   *owner;
} PromWatch;

/* Watch fd for epoll events, or change what it is watched for; false when the kernel refuses. */
extern bool prom_gateway_watch(int fd, uint32 events, PromWatch *watch);
extern void prom_gateway_unwatch(int fd);

/* The Prometheus release whose API this is; clients decide by it what they may ask. */
#define PROM_META_VERSION "3.5.0"

extern MemoryContext prom_gateway_context;	/* lives as long as the worker */

extern int	prom_gateway_port;
extern char *prom_gateway_listen_addresses;
extern int	prom_gateway_max_connections;
extern int	prom_gateway_max_header_kb;
extern int	prom_gateway_max_body_kb;
extern int	prom_gateway_max_response_kb;
extern int	prom_gateway_request_timeout_ms;
extern int	prom_gateway_query_timeout_ms;
extern int	prom_gateway_query_connections;

/* ---- listen.c ---- */

/* Bind what is not bound yet; says what failed once, and tries again when called again. */
extern void prom_listen_open(struct MHD_Daemon *daemon);
extern void prom_listen_close(void);

/* A client has come or gone, or time has passed: accept again, or stop for a while. */
extern void prom_listen_tick(int nclients);

/* Can it be reached from this machine only? */
extern bool prom_listen_is_local(void);

/* ---- pool.c ---- */

typedef struct PromPool PromPool;
typedef struct PromConn PromConn;

typedef struct PromOutcome
{
	bool		ok;
	bool		cancelled;		/* by prom_pool_cancel */
	bool		timed_out;		/* the job's time was over */
	bool		queued;			/* it never reached a backend */
	char		sqlstate[6];
	const char *message;		/* UTF-8, no line feed at the end; "" if ok */
} PromOutcome;

#define PROM_JOB_MAX_PARAMS 12

/* One statement for a backend.  Its memory belongs to who submits it, until "done" was called. */
typedef struct PromJob
{
	dlist_node	node;
	PromPool   *pool;
	PromConn   *conn;			/* NULL: waits in the queue */
	const char *sql;
	int			nparams;
	Oid			types[PROM_JOB_MAX_PARAMS];
	const char *values[PROM_JOB_MAX_PARAMS];
	int			lengths[PROM_JOB_MAX_PARAMS];
	int			formats[PROM_JOB_MAX_PARAMS];
	const char *role;			/* it runs as, NULL: promgres.role */
	int			timeout_ms;		/* statement_timeout, 0: none; the role's may be less */
	const char *parameter;		/* of the request, that errors in PromQL are about */
	TimestampTz submitted;
	bool		binary;			/* columns come in binary */
	bool		kept;			/* the text is one of a few, and asked again and again: connections keep it prepared */
	bool		full;			/* its owner cannot take more rows: none are read until prom_pool_resume */
	bool		cancelled;
	PromOutcome outcome;

	void		(*rows) (struct PromJob *job, PGresult *rows);	/* may be called many times */
	void		(*notice) (struct PromJob *job, const PGresult *notice);	/* may be NULL */
	void		(*done) (struct PromJob *job);	/* called once; the statement is committed if outcome.ok */
	void	   *owner;
} PromJob;

extern PromPool *prom_pool_ingest;	/* asks prom_write_group() for work */
extern PromPool *prom_pool_query;
extern PromPool *prom_pool_login;	/* who clients are; must not wait behind queries, nor others behind it */
extern PromPool *prom_pool_control; /* short things that must not wait behind queries */

extern void prom_pool_start(void);
extern bool prom_pool_submit(PromPool *pool, PromJob *job); /* false: the queue is full */
extern void prom_pool_cancel(PromJob *job);
extern void prom_pool_resume(PromJob *job); /* there is room for rows again */
extern void prom_pool_dispatch(PromPool *pool);
extern void prom_pool_tick(void);
extern void prom_pool_reload(void); /* settings have changed: connect anew where it matters */

/* What a pool has and does. */
typedef struct PromPoolLook
{
	int			queued;
	int			open;			/* connections, connecting ones included */
	int			busy;
	int			size;
} PromPoolLook;

extern PromPoolLook prom_pool_look(const PromPool *pool);
extern void prom_pool_stop(void);	/* all jobs end now, without success */
extern void prom_job_param(PromJob *job, Oid type, const char *value);

/* ---- auth.c ---- */

struct PromRequest;

typedef struct PromCredentials PromCredentials;

extern void prom_auth_init(void);
extern void prom_auth_reload(void); /* forgets what it remembers; also the first call */

/* May a request with these headers go on?  If not, answers 401 or 429. */
extern bool prom_auth_check(struct PromRequest *r);

/* Call "run" as soon as it is known who the client is: r->role.  If he is not, answers 401. */
extern void prom_auth_run(struct PromRequest *r, void (*run) (struct PromRequest *r));

/* ---- tls.c ---- */

extern void prom_tls_init(void);
extern void prom_tls_init_start(void);	/* settings that are fixed when the server starts */
extern void prom_tls_reload(void);	/* reads the files; also the first call */
extern bool prom_tls_enabled(void);

/* A connection has come; false: it cannot be served.  What it gets here is given back when it goes. */
extern bool prom_tls_begin(struct MHD_Connection *connection, void **tls);
extern void prom_tls_end(void *tls);

/* The role that the client's certificate names; NULL: there is none, or it is not asked for. */
extern char *prom_tls_role(struct PromRequest *r);

/* ---- request.c ---- */

/* A connection of a client. */
typedef struct PromClient
{
	dlist_node	node;
	int			fd;
	bool		working;		/* a request is complete and its answer not yet sent */
	TimestampTz since;			/* when that began, or when the last answer was sent */
	PromWatch	watch;
	void	   *tls;			/* of tls.c */
	struct PromRequest *request;
} PromClient;

/* An answer that is sent while it is made; stream.c's own. */
typedef struct PromStream PromStream;

typedef struct PromParam
{
	const char *name;
	const char *value;
} PromParam;

typedef enum PromRequestState
{
	PROM_REQUEST_NEW,			/* the request line is there */
	PROM_REQUEST_BODY,			/* headers are checked, the body comes */
	PROM_REQUEST_REFUSED,		/* answer is known, the rest of the body is thrown away */
	PROM_REQUEST_SUSPENDED,		/* a backend works */
	PROM_REQUEST_ANSWERED		/* answer is complete; may be resumed */
} PromRequestState;

/* Who sends a body, and is to understand the answer. */
typedef enum PromProtocol
{
	PROM_PROTOCOL_WRITE_1, PROM_PROTOCOL_WRITE_2, PROM_PROTOCOL_OTLP, PROM_PROTOCOL_OTLP_JSON
} PromProtocol;

/* What of a body was stored. */
enum
{
	PROM_WRITTEN_SAMPLES, PROM_WRITTEN_HISTOGRAMS, PROM_WRITTEN_EXEMPLARS, PROM_WRITTEN
};

typedef struct PromRequest
{
	MemoryContext context;		/* everything of the request, the answer included */
	PromRequestState state;
	bool		suspended;		/* it was, whatever its state is now */
	struct MHD_Connection *connection;
	PromClient *client;
	const struct PromRoute *route;
	char	   *path;			/* as sent, without the query string and what prom_prefix_skip() passes */
	char	   *url_query;		/* as sent */
	bool		is_api;			/* answers in the envelope of the API, with CORS headers */

	char	   *role;			/* it runs as, NULL: promgres.role */
	PromCredentials *credentials;	/* to be checked, or NULL */
	void		(*run) (struct PromRequest *r); /* when they have been */

	char	   *body;			/* has room for a zero byte more */
	size_t		body_len;
	size_t		body_room;
	size_t		body_received;	/* also what was thrown away */

	PromParam  *params;			/* of body and URL, in this order */
	int			nparams;

	PromJob		job;
	/* write.c */
	dlist_node	node;			/* in the queue of bodies */
	bool		alone;			/* not in one call with others */
	const char *body_format;	/* as prom.ingest() knows it */
	PromProtocol protocol;
	int64		written[PROM_WRITTEN];
	int64		refused;		/* parts of the body, -1: all of it */
	char	   *refusal;		/* what prom.ingest() did not take */

	List	   *warnings;		/* char * */
	List	   *infos;

	bool		has_extension;	/* /-/ready, /metrics */
	PromStream *stream;			/* NULL: the answer is sent as a whole */
	TimestampTz begun;

	int			status;
	const char *content_type;
	const char *content_encoding;	/* of the answer's bytes as they are; NULL: none yet */
	const char *allow;			/* 405: value of the header Allow */
	List	   *headers;		/* char *: a name, its value, ... */
	bool		retry_later;	/* Retry-After */
	int			retry_after_s;	/* its value, 0: the usual */
	bool		close;			/* no further request on this connection */
	StringInfoData answer;
	size_t		answer_room;	/* what of it is counted with the answers of all requests */
} PromRequest;

extern struct MHD_Daemon *prom_request_daemon(void);
extern int	prom_request_clients(void); /* how many there are */
extern int	prom_request_working(void); /* requests that are being answered */
extern void prom_request_memory(size_t *bodies, size_t *answers);
extern void prom_request_tick(void);	/* ends the connections of slow clients */

/* The parameters of body and URL; false and an answer if they are malformed.  For routes that check headers. */
extern bool prom_request_read_params(PromRequest *r);

/* The value of a parameter, "" if it is absent. */
extern const char *prom_request_param(const PromRequest *r, const char *name);

/* Wait for something that will call prom_answer_...(). */
extern void prom_request_suspend(PromRequest *r);

/*
 * Hand r->job to a pool and suspend the request; 503 if the queue is full.  The rows are fragments of
 * JSON, in the first column, that make the value of "data", unless r->job has functions of its own.
 * No rows are status 204.
 */
extern void prom_request_ask(PromRequest *r, PromPool *pool);

/* ---- answer.c ---- */

/* Answer 200 with bytes that stay where they are. */
extern void prom_answer_static(PromRequest *r, const char *content_type, const char *bytes, size_t len);

/* Fill in the answer (once), and resume the connection if it is suspended. */
extern void prom_answer_text(PromRequest *r, int status, const char *fmt,...) pg_attribute_printf(3, 4);
extern void prom_answer_error(PromRequest *r, int status, const char *type, const char *fmt,...) pg_attribute_printf(4, 5);
extern void prom_answer_data(PromRequest *r, const char *json); /* status 200, in the envelope */
extern void prom_answer_empty(PromRequest *r, int status);
extern void prom_answer_bytes(PromRequest *r, int status, const char *content_type, const char *bytes, int len);

/* A header more; both strings live as long as the request. */
extern void prom_answer_header(PromRequest *r, const char *name, const char *value);

extern void prom_answer_ready(PromRequest *r, int status, const char *content_type);

/* Hand a complete answer to libmicrohttpd. */
extern enum MHD_Result prom_answer_send(PromRequest *r);

/* ---- stream.c ---- */

/*
 * Hand r->job to a pool and suspend the request, as prom_request_ask does.  The rows are bytes: first the
 * content type (and, after a line feed, the content encoding), then the body, which is sent as it comes.
 */
extern void prom_stream_ask(PromRequest *r, PromPool *pool);
extern bool prom_stream_begun(const PromRequest *r);
extern uint64 prom_stream_sent(const PromRequest *r);
extern struct MHD_Response *prom_stream_response(PromRequest *r);
extern void prom_stream_hung_up(PromRequest *r);	/* the client has closed its side */

/* libmicrohttpd is done with the request.  True: its statement is not, and it will free itself. */
extern bool prom_stream_abandon(PromRequest *r);

/* ---- routes.c ---- */

typedef struct PromRoute
{
	const char *methods;		/* as in the header Allow */
	const char *path;			/* one "*" stands for one segment */
	bool		(*check) (PromRequest *r);	/* before the body; false: it is answered */
	void		(*run) (PromRequest *r);
	bool		open;			/* whoever asks */
} PromRoute;

/* The routes by number, NULL behind the last. */
extern const PromRoute *prom_route_number(int i);

/* The route of a path and method; on 404 and 405 answers and returns NULL. */
extern const PromRoute *prom_route(PromRequest *r, const char *method);

/* Answer what went wrong in a backend.  "parameter" is the one that holds PromQL; NULL: say the bare text. */
extern void prom_answer_outcome(PromRequest *r, const PromOutcome *o, const char *parameter);

/* What the server said of an error, to be shown to clients; palloc'd. */
extern char *prom_outcome_text(const PGresult *result);

#define PROM_SQLSTATE_LIMIT "53400"		/* configuration_limit_exceeded */
#define PROM_SQLSTATE_SYNTAX "42601"	/* syntax_error */

/* The same as a line of text, for what does not answer in the envelope. */
extern void prom_answer_outcome_text(PromRequest *r, const PromOutcome *o);

/* Would the same thing work later?  Then a sender must keep its data. */
extern bool prom_outcome_is_transient(const PromOutcome *o);
extern bool prom_outcome_is_forbidden(const PromOutcome *o);
extern bool prom_outcome_is_missing(const PromOutcome *o);	/* the extension is not there */

#define PROM_MISSING_TEXT \
	"the extension promgres is missing in database \"%s\": run CREATE EXTENSION promgres there, or set promgres.database"

/* ---- write.c ---- */

extern bool prom_write_check(PromRequest *r);	/* remote write */
extern bool prom_write_check_otlp(PromRequest *r);
extern void prom_write_run(PromRequest *r);
extern void prom_write_answer(PromRequest *r);	/* what became of the body; protocol.c */
extern void prom_write_answer_failed(PromRequest *r, int status, const char *message);
extern PromJob *prom_write_group(void);	/* the next group of bodies, or NULL */
extern bool prom_write_pending(void);
extern int	prom_write_queue(size_t *bytes);	/* bodies that wait */

/* ---- rate.c ---- */

extern void prom_rate_init(void);

/* May another body come?  If not, answers 429. */
extern bool prom_rate_check(PromRequest *r);

/* So many samples have been stored. */
extern void prom_rate_charge(int64 samples);

/* ---- prefix.c ---- */

extern void prom_prefix_init(void);

/* The path behind promgres.path_prefix and the prefixes that other systems have. */
extern char *prom_prefix_skip(char *path);
extern char *prom_prefix_setting;

/* ---- cors.c ---- */

extern void prom_cors_init(void);

/* Which origin, if any, a page from there may be told that it can read answers; NULL: none. */
extern const char *prom_cors_allowed(const char *origin);


/* ---- encoding.c ---- */

/* The encoding of an answer that a client accepts; NULL: none. */
extern const char *prom_encoding_accepted(const char *accept_encoding);

/* A response of these bytes, which stay where they are, compressed while it is sent; NULL: out of memory. */
extern struct MHD_Response *prom_encoding_response(const char *encoding, const char *data, size_t len);

/* ---- query.c, expression.c, exemplars.c ---- */

/* Annotations of a query travel as notices with these. */
#define PROM_SQLSTATE_WARNING "01PRW"
#define PROM_SQLSTATE_INFO "01PRI"

/* The steps of a range query: start, end and step; on bad ones answers 400 and returns false. */
extern bool prom_query_steps(PromRequest *r, int64 *start_ms, int64 *end_ms, int64 *step_ns);

/* ---- read.c, federate.c, metrics.c ---- */
extern bool prom_read_is_sent(const PromRequest *r);	/* is its body a ReadRequest? */
extern bool prom_read_check_headers(PromRequest *r);
extern void prom_read_run(PromRequest *r);
extern void prom_federate_run(PromRequest *r);
extern void prom_metrics_run(PromRequest *r);
extern void prom_metrics_count(const PromRequest *r);	/* it is over */

/* ---- external.c ---- */
extern void prom_external_init(void);

extern void prom_query_run(PromRequest *r);
extern void prom_query_range_run(PromRequest *r);
extern void prom_format_query_run(PromRequest *r);
extern void prom_parse_query_run(PromRequest *r);
extern void prom_query_exemplars_run(PromRequest *r);

/* ---- meta.c, targets.c, rules.c ---- */

extern void prom_labels_run(PromRequest *r);
extern void prom_label_values_run(PromRequest *r);
extern void prom_series_run(PromRequest *r);
extern void prom_metadata_run(PromRequest *r);
extern void prom_targets_run(PromRequest *r);
extern void prom_targets_metadata_run(PromRequest *r);
extern void prom_scrape_pools_run(PromRequest *r);
extern void prom_rules_run(PromRequest *r);
extern void prom_alerts_run(PromRequest *r);
extern void prom_alertmanagers_run(PromRequest *r);

/* ---- status.c ---- */

extern void prom_status_init(void);
extern void prom_buildinfo_run(PromRequest *r);
extern void prom_version_run(PromRequest *r);
extern void prom_runtimeinfo_run(PromRequest *r);
extern void prom_config_run(PromRequest *r);
extern void prom_flags_run(PromRequest *r);
extern void prom_tsdb_run(PromRequest *r);
extern void prom_tsdb_blocks_run(PromRequest *r);
extern void prom_walreplay_run(PromRequest *r);
extern void prom_features_run(PromRequest *r);
extern void prom_notifications_run(PromRequest *r);
extern void prom_notifications_live_run(PromRequest *r);

/* ---- admin.c ---- */

extern void prom_admin_init(void);
extern bool prom_admin_enabled;
extern void prom_delete_series_run(PromRequest *r);
extern void prom_clean_tombstones_run(PromRequest *r);
extern void prom_snapshot_run(PromRequest *r);

/* ---- health.c ---- */

extern void prom_healthy_run(PromRequest *r);
extern void prom_ready_run(PromRequest *r);
extern void prom_lifecycle_run(PromRequest *r);

/* ---- page.c ---- */

extern void prom_page_run(PromRequest *r);
extern void prom_page_file_run(PromRequest *r);
extern void prom_explain_run(PromRequest *r);
extern void prom_page_status_run(PromRequest *r);

/* ---- params.c: values of parameters; on a bad one answer 400 and return false ---- */

extern bool prom_param_time(PromRequest *r, const char *name, int64 *t_ms);
extern bool prom_param_time_or(PromRequest *r, const char *name, int64 fallback, int64 *t_ms);
extern bool prom_param_duration(PromRequest *r, const char *name, int64 *ns);
extern bool prom_param_lookback(PromRequest *r, int64 *lookback_ms);
extern bool prom_param_timeout(PromRequest *r, int *timeout_ms);
extern bool prom_param_limit(PromRequest *r, const char *name, int *limit);	/* absent: 0 */
extern bool prom_param_bool(PromRequest *r, const char *name, bool *value);	/* absent: left as it is */

/* What Thanos' clients add to any request is accepted, if it is well-formed. */
extern bool prom_param_thanos(PromRequest *r);
extern bool prom_param_resolution(PromRequest *r, int64 *resolution_ms);

/* ---- thanos.c ---- */

/* The parameters that stand for settings; false: a bad one is answered. */
extern bool prom_thanos_check(PromRequest *r);

/* Adds to the job's statement, "SELECT f(...)", that these parameters are in force while it runs. */
extern void prom_thanos_add(PromRequest *r);

/* ---- params.c ---- */

/* All values of a repeated parameter, as the literal of an array. */
extern char *prom_param_array(PromRequest *r, const char *name, int *n);

/* Decode one segment of a path in place; false if it is malformed or not UTF-8. */
extern bool prom_param_segment(char *segment);
extern char *prom_param_quote(const char *s);

/* ---- json.c ---- */

extern void prom_json_string(StringInfo out, const char *s, int len);
extern void prom_json_value(StringInfo out, double v);	/* with its quotes */
extern void prom_json_time(StringInfo out, int64 t_ms);

#endif							/* PROM_GATEWAY_H */
