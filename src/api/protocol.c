/*
 * protocol.c
 *	  What senders of samples say and want to hear: remote write 1.0 and 2.0, OTLP.
 *
 * Headers alone decide what a body is.  A sender of remote write gets 204 or 400; one of version 2 is
 * told in headers how much was stored, for it takes an answer without them as a sign that nothing
 * was.  OTLP has answers in the format of the request, and 200 even if some data points were refused:
 * they are counted in the answer.
 */
#include "postgres.h"

#include "api/gateway.h"
#include "common/bytes.h"

#define MEDIA_PROTOBUF	"application/x-protobuf"
#define MEDIA_JSON		"application/json"

/* google.rpc.Code */
#define CODE_INVALID_ARGUMENT 3
#define CODE_INTERNAL	13
#define CODE_UNAVAILABLE 14

static bool read_protocol(const char *type, PromProtocol *protocol);
static bool has_media(const char *type, const char *media);
static const char *header(PromRequest *r, const char *name);
static void answer_otlp(PromRequest *r);

bool
prom_write_check(PromRequest *r)
{
	const char *encoding = header(r, "Content-Encoding");
	const char *type = header(r, "Content-Type");

	if (*encoding != '\0' && pg_strcasecmp(encoding, "snappy") != 0 && pg_strcasecmp(encoding, "zstd") != 0)
		prom_answer_text(r, 415, "%s encoding is not supported, only snappy and zstd are\n", prom_param_quote(encoding));
	else if (!read_protocol(type, &r->protocol))
		prom_answer_text(r, 415, "content type %s is not supported, only " MEDIA_PROTOBUF ";proto=prometheus.WriteRequest and "
						 MEDIA_PROTOBUF ";proto=io.prometheus.write.v2.Request are\n", prom_param_quote(type));
	else
	{
		bool		zstd = pg_strcasecmp(encoding, "zstd") == 0;

		if (r->protocol == PROM_PROTOCOL_WRITE_1)
			r->body_format = zstd ? "remote_write_1+zstd" : "remote_write_1+snappy";
		else
			r->body_format = zstd ? "remote_write_2+zstd" : "remote_write_2+snappy";
		return prom_rate_check(r);
	}
	return false;
}

bool
prom_write_check_otlp(PromRequest *r)
{
	static const struct
	{
		const char *encoding;
		const char *formats[2];
	}			encodings[] = {
		{"", {"otlp", "otlp_json"}}, {"identity", {"otlp", "otlp_json"}}, {"gzip", {"otlp+gzip", "otlp_json+gzip"}},
		{"zstd", {"otlp+zstd", "otlp_json+zstd"}}, {"snappy", {"otlp+snappy", "otlp_json+snappy"}}
	};
	const char *encoding = header(r, "Content-Encoding");
	const char *type = header(r, "Content-Type");

	if (has_media(type, MEDIA_JSON))
		r->protocol = PROM_PROTOCOL_OTLP_JSON;
	else if (has_media(type, MEDIA_PROTOBUF))
		r->protocol = PROM_PROTOCOL_OTLP;
	else
	{
		prom_answer_text(r, 415, "content type %s is not supported, only " MEDIA_PROTOBUF " and " MEDIA_JSON " are\n",
						 prom_param_quote(type));
		return false;
	}
	for (int i = 0; i < lengthof(encodings); i++)
	{
		if (pg_strcasecmp(encoding, encodings[i].encoding) != 0)
			continue;
		r->body_format = encodings[i].formats[r->protocol == PROM_PROTOCOL_OTLP_JSON ? 1 : 0];
		return prom_rate_check(r);
	}
	prom_answer_text(r, 415, "%s encoding is not supported, only gzip, zstd and snappy are\n", prom_param_quote(encoding));
	return false;
}

static const char *
header(PromRequest *r, const char *name)
{
	const char *value = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);

	return value ? value : "";
}

/* Is it this media type, with whatever parameters? */
static bool
has_media(const char *type, const char *media)
{
	size_t		len = strlen(media);

	return pg_strncasecmp(type, media, len) == 0 && type[len + strspn(type + len, " \t")] == (type[len] ? ';' : '\0');
}

/* The version that a content type asks for; other parameters than proto are passed over. */
static bool
read_protocol(const char *type, PromProtocol *protocol)
{
	static const struct
	{
		const char *proto;
		PromProtocol protocol;
	}			protos[] = {
		{"prometheus.WriteRequest", PROM_PROTOCOL_WRITE_1}, {"io.prometheus.write.v2.Request", PROM_PROTOCOL_WRITE_2}
	};
	const char *p = type + strlen(MEDIA_PROTOBUF);

	*protocol = PROM_PROTOCOL_WRITE_1;
	if (*type == '\0')
		return true;
	if (strncmp(type, MEDIA_PROTOBUF, strlen(MEDIA_PROTOBUF)) != 0)
		return false;
	while (*p != '\0')
	{
		const char *name;
		const char *value;
		int			name_len;
		int			value_len;
		bool		known = false;

		p += strspn(p, " \t");
		if (*p == '\0')
			break;
		if (*p++ != ';')
			return false;
		p += strspn(p, " \t");
		name = p;
		name_len = strcspn(p, "=; \t");
		p += name_len;
		if (*p++ != '=')
			return false;
		value = p;
		value_len = strcspn(p, "; \t");
		p += value_len;
		if (name_len != 5 || strncmp(name, "proto", 5) != 0)
			continue;
		for (int i = 0; i < lengthof(protos); i++)
		{
			if (value_len != strlen(protos[i].proto) || strncmp(value, protos[i].proto, value_len) != 0)
				continue;
			*protocol = protos[i].protocol;
			known = true;
		}
		if (!known)
			return false;
	}
	return true;
}

static void
tell_written(PromRequest *r)
{
	static const char *const names[PROM_WRITTEN] = {"X-Prometheus-Remote-Write-Samples-Written",
	"X-Prometheus-Remote-Write-Histograms-Written", "X-Prometheus-Remote-Write-Exemplars-Written"};

	for (int i = 0; i < PROM_WRITTEN; i++)
	{
		char	   *value = MemoryContextAlloc(r->context, 24);

		snprintf(value, 24, INT64_FORMAT, r->written[i]);
		prom_answer_header(r, names[i], value);
	}
}

void
prom_write_answer(PromRequest *r)
{
	if (r->protocol >= PROM_PROTOCOL_OTLP)
	{
		answer_otlp(r);
		return;
	}
	if (r->protocol == PROM_PROTOCOL_WRITE_2)
		tell_written(r);
	if (r->refusal != NULL)
		prom_answer_text(r, 400, "%s\n", r->refusal);
	else
		prom_answer_empty(r, 204);
}

static void
put_number(StringInfo out, int field, uint64 v)
{
	uint8		bytes[11] = {(uint8) (field << 3)};

	appendBinaryStringInfo(out, (char *) bytes, prom_put_varint(bytes + 1, v) - bytes);
}

static void
put_bytes(StringInfo out, int field, const char *data, int len)
{
	uint8		bytes[11] = {(uint8) (field << 3 | 2)};

	appendBinaryStringInfo(out, (char *) bytes, prom_put_varint(bytes + 1, len) - bytes);
	appendBinaryStringInfo(out, data, len);
}

/* An ExportMetricsServiceResponse, or a google.rpc.Status if the body as such could not be read. */
static void
answer_otlp(PromRequest *r)
{
	bool		is_json = r->protocol == PROM_PROTOCOL_OTLP_JSON;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	StringInfoData out;
	StringInfoData partial;

	initStringInfo(&out);
	initStringInfo(&partial);
	if (r->refusal != NULL && r->refused < 0)
		prom_write_answer_failed(r, 400, r->refusal);
	else if (is_json)
	{
		if (r->refusal == NULL)
			appendStringInfoString(&out, "{}");
		else
		{
			appendStringInfo(&out, "{\"partialSuccess\":{\"rejectedDataPoints\":\"" INT64_FORMAT "\",\"errorMessage\":", r->refused);
			prom_json_string(&out, r->refusal, strlen(r->refusal));
			appendStringInfoString(&out, "}}");
		}
		prom_answer_bytes(r, 200, MEDIA_JSON, out.data, out.len);
	}
	else
	{
		if (r->refusal != NULL)
		{
			put_number(&partial, 1, (uint64) r->refused);
			put_bytes(&partial, 2, r->refusal, strlen(r->refusal));
			put_bytes(&out, 1, partial.data, partial.len);
		}
		prom_answer_bytes(r, 200, MEDIA_PROTOBUF, out.data, out.len);
	}
	MemoryContextSwitchTo(old);
}

void
prom_write_answer_failed(PromRequest *r, int status, const char *message)
{
	int			code = status == 400 ? CODE_INVALID_ARGUMENT : status == 503 ? CODE_UNAVAILABLE : CODE_INTERNAL;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	StringInfoData out;

	initStringInfo(&out);
	if (r->protocol == PROM_PROTOCOL_OTLP_JSON)
	{
		appendStringInfo(&out, "{\"code\":%d,\"message\":", code);
		prom_json_string(&out, message, strlen(message));
		appendStringInfoChar(&out, '}');
		prom_answer_bytes(r, status, MEDIA_JSON, out.data, out.len);
	}
	else if (r->protocol == PROM_PROTOCOL_OTLP)
	{
		put_number(&out, 1, code);
		put_bytes(&out, 2, message, strlen(message));
		prom_answer_bytes(r, status, MEDIA_PROTOBUF, out.data, out.len);
	}
	else
		prom_answer_text(r, status, "%s\n", message);
	MemoryContextSwitchTo(old);
}
