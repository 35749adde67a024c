/*
 * fragments.c
 *	  JSON that a backend prints for the gateway, as rows of text to be put together.
 *
 * libpq holds a row as a whole, and so does the executor; so an answer is cut into rows of some
 * kilobytes, anywhere between two characters of JSON's own syntax.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "api/fragments.h"
#include "api/gateway.h"

#define PROM_FRAGMENT_SIZE 32768

static void
put_row(PromFragments *f)
{
	Datum		value = PointerGetDatum(cstring_to_text_with_len(f->buf.data, f->buf.len));
	bool		isnull = false;

	CHECK_FOR_INTERRUPTS();
	tuplestore_putvalues(f->store, f->desc, &value, &isnull);
	pfree(DatumGetPointer(value));
	resetStringInfo(&f->buf);
}

void
prom_fragments_begin(PromFragments *f, FunctionCallInfo fcinfo, int limit)
{
	ReturnSetInfo *rsinfo;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	f->store = rsinfo->setResult;
	f->desc = rsinfo->setDesc;
	f->limit = limit;
	f->elements = 0;
	f->cut = false;
	initStringInfo(&f->buf);
}

StringInfo
prom_fragments_element(PromFragments *f)
{
	CHECK_FOR_INTERRUPTS();
	if (f->limit > 0 && f->elements == f->limit)
	{
		f->cut = true;
		return NULL;
	}
	prom_fragments_flush(f);
	if (f->elements++ > 0)
		appendStringInfoCharMacro(&f->buf, ',');
	return &f->buf;
}

void
prom_fragments_flush(PromFragments *f)
{
	if (f->buf.len >= PROM_FRAGMENT_SIZE)
		put_row(f);
}

void
prom_fragments_end(PromFragments *f)
{
	if (f->buf.len > 0)
		put_row(f);
	if (f->cut)
		ereport(NOTICE,
				(errcode(MAKE_SQLSTATE('0', '1', 'P', 'R', 'W')),
				 errmsg("results truncated due to limit")));
}

void
prom_fragments_labels(StringInfo out, const PromLabels *labels)
{
	int			n;
	PromLabel  *label = prom_labels_unpack(labels, &n);

	appendStringInfoCharMacro(out, '{');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoCharMacro(out, ',');
		prom_json_string(out, label[i].name, label[i].name_len);
		appendStringInfoCharMacro(out, ':');
		prom_json_string(out, label[i].value, label[i].value_len);
	}
	appendStringInfoCharMacro(out, '}');
	pfree(label);
}
