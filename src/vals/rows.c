/*
 * rows.c
 *	  The state of aggregations that need all values of a group: quantile, topk, bottomk, limitk, count_values.
 *
 * Transition, combination and input and output are the same for all; topk.c, quantile.c and
 * count_values.c have the final functions.  States of topk are pruned when they have doubled, so their
 * size depends on what is chosen and not on how much there was to choose from.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "common/compat.h"
#include "store/store.h"
#include "vals/annotate.h"
#include "vals/rows.h"
#include "vals/state.h"

extern Datum prom_vals_send(PG_FUNCTION_ARGS);
extern Datum prom_vals_recv(PG_FUNCTION_ARGS);
extern Datum prom_labels_send(PG_FUNCTION_ARGS);
extern Datum prom_labels_recv(PG_FUNCTION_ARGS);

#define ROWS_VERSION	2
#define FIRST_PRUNE		64		/* rows */
#define GROW_BYTES		((size_t) 64 * 1024 * 1024)	/* a state does not become larger by more than that at once */
#define COPY_BYTES		((size_t) 1024 * 1024)	/* between two checks for a cancelled query */
#define STATE_HEAD_BYTES 12		/* version, kind, notes, nsteps, nrows */

PG_FUNCTION_INFO_V1(prom_agg_rows_in);
PG_FUNCTION_INFO_V1(prom_agg_rows_out);
PG_FUNCTION_INFO_V1(prom_agg_rows_recv);
PG_FUNCTION_INFO_V1(prom_agg_rows_send);
PG_FUNCTION_INFO_V1(prom_agg_quantile_add);
PG_FUNCTION_INFO_V1(prom_agg_topk_add);
PG_FUNCTION_INFO_V1(prom_agg_bottomk_add);
PG_FUNCTION_INFO_V1(prom_agg_limitk_add);
PG_FUNCTION_INFO_V1(prom_agg_count_values_add);
PG_FUNCTION_INFO_V1(prom_agg_rows_combine);

/* ---- layout ---- */

static bool
has_labels(int kind)
{
	return kind == PROM_ROWS_TOPK || kind == PROM_ROWS_BOTTOMK || kind == PROM_ROWS_LIMITK;
}

static bool
has_param(int kind)
{
	return kind != PROM_ROWS_COUNT_VALUES;
}

/* Which choose by value, and do not look at histograms. */
static bool
is_of_floats(int kind)
{
	return kind == PROM_ROWS_QUANTILE || kind == PROM_ROWS_TOPK || kind == PROM_ROWS_BOTTOMK;
}

PromVals *
prom_rows_param(PromRows *s)
{
	return has_param(s->kind) ? (PromVals *) s->data : NULL;
}

PromRow *
prom_rows_list(PromRows *s)
{
	PromRow  *rows = palloc_extended(sizeof(PromRow) * Max(s->nrows, 1), MCXT_ALLOC_HUGE);
	char	   *at = s->data;

	if (has_param(s->kind))
		at += MAXALIGN(VARSIZE(at));
	for (int i = 0; i < s->nrows; i++)
	{
		rows[i].labels = NULL;
		if (has_labels(s->kind))
		{
			rows[i].labels = (PromLabels *) at;
			at += MAXALIGN(VARSIZE_ANY(at));
		}
		rows[i].vals = (PromVals *) at;
		at += MAXALIGN(VARSIZE(at));
	}
	return rows;
}

/* Hundreds of megabytes into memory that the kernel has yet to find take longer than a cancelled query may. */
static void
copy_large(void *to, const void *from, size_t bytes)
{
	for (size_t done = 0; done < bytes; done += COPY_BYTES)
	{
		CHECK_FOR_INTERRUPTS();
		memcpy((char *) to + done, (const char *) from + done, Min(bytes - done, COPY_BYTES));
	}
}

/* The state, moved if it must be, with room for so many bytes more. */
static PromRows *
make_room(PromRows *s, size_t more)
{
	size_t		needed = offsetof(PromRows, data) + s->used + more;
	size_t		size;
	PromRows *moved;

	if (needed <= VARSIZE(s))
		return s;
	if (needed > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("aggregation has too many values in one group"),
				 errdetail("The %d series seen so far have %d steps each.", s->nrows, s->nsteps),
				 errhint("Ask for fewer steps, or select fewer series.")));
	size = Min(needed + Min(needed, GROW_BYTES), MaxAllocSize);
	/* the executor copies what was moved */
	prom_store_need_memory(size * 2);
	moved = palloc(size);
	copy_large(moved, s, offsetof(PromRows, data) + s->used);
	SET_VARSIZE(moved, size);
	return moved;
}

/* Into room that is there. */
static void
append_part(PromRows *s, const void *part)
{
	size_t		size = VARSIZE_ANY(part);

	memcpy(s->data + s->used, part, size);
	memset(s->data + s->used + size, 0, MAXALIGN(size) - size);
	s->used += MAXALIGN(size);
}

static PromRows *
new_rows(PromRowsKind kind, int nsteps, const PromVals *param)
{
	size_t		size = offsetof(PromRows, data) + (param ? MAXALIGN(VARSIZE(param)) : 0) +
		MAXALIGN(PROM_VALS_SIZE(nsteps)) * 2;
	PromRows *s;

	prom_vals_check_steps(nsteps);
	s = palloc(size);
	memset(s, 0, offsetof(PromRows, data));
	SET_VARSIZE(s, size);
	s->version = ROWS_VERSION;
	s->kind = kind;
	s->nsteps = nsteps;
	if (param)
		append_part(s, param);
	return s;
}

static PromRows *
append_row(PromRows *s, const PromLabels *labels, const PromVals *vals)
{
	if (prom_vals_is_const(vals))
		elog(ERROR, "input of an aggregate is a constant");
	if (vals->nsteps != s->nsteps)
		elog(ERROR, "input of an aggregate has %d steps, not %d", vals->nsteps, s->nsteps);
	s = make_room(s, MAXALIGN(VARSIZE(vals)) + (labels ? MAXALIGN(VARSIZE_ANY(labels)) : 0));
	if (labels)
		append_part(s, labels);
	append_part(s, vals);
	s->nrows++;
	if (has_labels(s->kind) && s->nrows >= FIRST_PRUNE && s->nrows / 2 >= s->pruned)
	{
		prom_topk_prune(s);
		s->pruned = s->nrows;
	}
	return s;
}

/* ---- transition, combine ---- */

/* Arguments: state, labels if rows have them, vals, parameter if there is one. */
static Datum
add_arguments(FunctionCallInfo fcinfo, PromRowsKind kind)
{
	int			n = has_labels(kind) ? 2 : 1;
	PromRows *s = NULL;
	PromVals   *vals;
	PromVals   *param = NULL;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "aggregate's function called outside of an aggregate");
	if (!PG_ARGISNULL(0))
	{
		s = PG_GETARG_PROM_ROWS_P(0);
		if (s->kind != kind)
			elog(ERROR, "state belongs to another aggregate");
	}
	if (PG_ARGISNULL(n) || (has_labels(kind) && PG_ARGISNULL(1)) || (has_param(kind) && PG_ARGISNULL(n + 1)))
	{
		if (s == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(s);
	}
	vals = PG_GETARG_PROM_VALS_P(n);
	if (s == NULL)
	{
		param = has_param(kind) ? PG_GETARG_PROM_VALS_P(n + 1) : NULL;
		if (param && !prom_vals_is_const(param) && param->nsteps != vals->nsteps)
			elog(ERROR, "parameter of an aggregate has %d steps, not %d", param->nsteps, vals->nsteps);
		s = new_rows(kind, vals->nsteps, param);
	}
	if (is_of_floats(kind) && prom_vals_is_mixed(vals))
	{
		vals = prom_vals_floats(vals);
		s->notes |= PROM_NOTE_IGNORED;
	}
	s = append_row(s, has_labels(kind) ? PG_GETARG_PROM_LABELS_P(1) : NULL, vals);
	PG_RETURN_POINTER(s);
}

Datum
prom_agg_quantile_add(PG_FUNCTION_ARGS)
{
	return add_arguments(fcinfo, PROM_ROWS_QUANTILE);
}

Datum
prom_agg_topk_add(PG_FUNCTION_ARGS)
{
	return add_arguments(fcinfo, PROM_ROWS_TOPK);
}

Datum
prom_agg_bottomk_add(PG_FUNCTION_ARGS)
{
	return add_arguments(fcinfo, PROM_ROWS_BOTTOMK);
}

Datum
prom_agg_limitk_add(PG_FUNCTION_ARGS)
{
	return add_arguments(fcinfo, PROM_ROWS_LIMITK);
}

Datum
prom_agg_count_values_add(PG_FUNCTION_ARGS)
{
	return add_arguments(fcinfo, PROM_ROWS_COUNT_VALUES);
}

Datum
prom_agg_rows_combine(PG_FUNCTION_ARGS)
{
	PromRows *s;
	PromRows *other;
	PromRow  *rows;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "aggregate's function called outside of an aggregate");
	if (PG_ARGISNULL(0))
	{
		if (PG_ARGISNULL(1))
			PG_RETURN_NULL();
		PG_RETURN_POINTER(PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(1)));
	}
	s = PG_GETARG_PROM_ROWS_P(0);
	if (PG_ARGISNULL(1))
		PG_RETURN_POINTER(s);
	other = PG_GETARG_PROM_ROWS_P(1);
	if (other->kind != s->kind || other->nsteps != s->nsteps)
		elog(ERROR, "states of different aggregates cannot be combined");
	rows = prom_rows_list(other);
	for (int i = 0; i < other->nrows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		s = append_row(s, rows[i].labels, rows[i].vals);
	}
	s->notes |= other->notes;
	PG_RETURN_POINTER(s);
}

/* ---- input and output ---- */

/* A part as the send function of its type writes it, its length ahead. */
static void
send_part(StringInfo buf, PGFunction send, const void *part)
{
	bytea	   *bytes = DatumGetByteaPP(DirectFunctionCall1(send, PointerGetDatum(part)));

	pq_sendint32(buf, VARSIZE_ANY_EXHDR(bytes));
	pq_sendbytes(buf, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	pfree(bytes);
}

Datum
prom_agg_rows_send(PG_FUNCTION_ARGS)
{
	PromRows *s = PG_GETARG_PROM_ROWS_P(0);
	PromRow  *rows = prom_rows_list(s);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbyte(&buf, s->version);
	pq_sendbyte(&buf, s->kind);
	pq_sendint16(&buf, s->notes);
	pq_sendint32(&buf, s->nsteps);
	pq_sendint32(&buf, s->nrows);
	if (has_param(s->kind))
		send_part(&buf, prom_vals_send, prom_rows_param(s));
	for (int i = 0; i < s->nrows; i++)
	{
		if (rows[i].labels)
			send_part(&buf, prom_labels_send, rows[i].labels);
		send_part(&buf, prom_vals_send, rows[i].vals);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

static void
raise_invalid(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("invalid state of an aggregate")));
}

/* The next part, read and checked by the receive function of its type. */
static void *
receive_part(StringInfo buf, PGFunction receive)
{
	int			len = -1;
	StringInfoData part;
	void	   *result;

	if (buf->len - buf->cursor >= 4)
		len = pq_getmsgint(buf, 4);
	if (len < 0 || len > buf->len - buf->cursor)
		raise_invalid();
	initStringInfo(&part);
	appendBinaryStringInfo(&part, pq_getmsgbytes(buf, len), len);
	result = DatumGetPointer(DirectFunctionCall1(receive, PointerGetDatum(&part)));
	if (part.cursor != part.len)
		raise_invalid();
	pfree(part.data);
	return result;
}

static PromVals *
receive_vals(StringInfo buf, int nsteps, bool may_be_const)
{
	PromVals   *vals = receive_part(buf, prom_vals_recv);

	if (prom_vals_is_const(vals) ? !may_be_const : vals->nsteps != nsteps)
		raise_invalid();
	return vals;
}

static PromRows *
receive_rows(StringInfo buf)
{
	int			version = 0;
	int			kind = 0;
	int			notes = 0;
	int			nsteps = 0;
	int			nrows = 0;
	PromRows *s;

	if (buf->len - buf->cursor >= STATE_HEAD_BYTES)
	{
		version = pq_getmsgbyte(buf);
		kind = pq_getmsgbyte(buf);
		notes = pq_getmsgint(buf, 2);
		nsteps = pq_getmsgint(buf, 4);
		nrows = pq_getmsgint(buf, 4);
	}
	if (version != ROWS_VERSION || kind >= PROM_ROWS_KINDS || nsteps < 1 || nsteps > PROM_VALS_MAX_STEPS || nrows < 0)
		raise_invalid();
	s = new_rows(kind, nsteps, has_param(kind) ? receive_vals(buf, nsteps, true) : NULL);
	s->notes = notes;
	for (int i = 0; i < nrows; i++)
	{
		PromLabels *labels;

		CHECK_FOR_INTERRUPTS();
		labels = has_labels(kind) ? receive_part(buf, prom_labels_recv) : NULL;

		s = append_row(s, labels, receive_vals(buf, nsteps, false));
	}
	if (buf->cursor != buf->len)
		raise_invalid();
	return s;
}

Datum
prom_agg_rows_recv(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(receive_rows((StringInfo) PG_GETARG_POINTER(0)));
}

Datum
prom_agg_rows_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(prom_state_text(DirectFunctionCall1(prom_agg_rows_send, PG_GETARG_DATUM(0))));
}

Datum
prom_agg_rows_in(PG_FUNCTION_ARGS)
{
	StringInfoData buf;

	prom_state_bytes(PG_GETARG_CSTRING(0), &buf);
	PG_RETURN_POINTER(receive_rows(&buf));
}
