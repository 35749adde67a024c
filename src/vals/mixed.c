/*
 * mixed.c
 *	  Values that have native histograms beside numbers: putting them together and apart.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "common/compat.h"
#include "vals/vals.h"

PromMixed
prom_mixed_new(int nsteps)
{
	PromMixed	m = {prom_vals_new(nsteps), NULL};

	return m;
}

void
prom_mixed_set_histogram(PromMixed *m, int i, const PromHistogram *h)
{
	prom_vals_set(m->vals, i, 0);
	if (m->histograms == NULL)
		m->histograms = MemoryContextAllocZero(GetMemoryChunkContext(m->vals),
											   sizeof(PromHistogram *) * m->vals->nsteps);
	m->histograms[i] = h;
}

PromVals *
prom_mixed_finish(const PromMixed *m)
{
	const PromVals *x = m->vals;
	size_t		head = PROM_VALS_SIZE(x->nsteps) + sizeof(uint32) * TYPEALIGN(2, x->nsteps);
	size_t		size = head;
	PromVals   *out;

	if (m->histograms == NULL)
		return m->vals;
	for (int i = 0; i < x->nsteps; i++)
		if (m->histograms[i])
			size += m->histograms[i]->size;
	if (size == head)
		return m->vals;
	if (!AllocSizeIsValid(size))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("histograms of one series are too many for one result"),
				 errdetail("They take %zu bytes over %d steps.", size, x->nsteps),
				 errhint("Ask for fewer steps.")));
	out = palloc(size);
	memcpy(out, x, PROM_VALS_SIZE(x->nsteps));
	memset((char *) out + PROM_VALS_SIZE(x->nsteps), 0, head - PROM_VALS_SIZE(x->nsteps));
	SET_VARSIZE(out, size);
	out->format = PROM_VALS_MIXED;
	for (int i = 0; i < x->nsteps; i++)
	{
		if (m->histograms[i] == NULL)
			continue;
		memcpy((char *) out + head, m->histograms[i], m->histograms[i]->size);
		PROM_VALS_PLACES(out)[i] = head;
		head += m->histograms[i]->size;
	}
	return out;
}

PromVals *
prom_vals_floats(PromVals *x)
{
	PromVals   *out;

	if (!prom_vals_is_mixed(x))
		return x;
	out = prom_vals_new(x->nsteps);
	out->flags = x->flags;
	for (int i = 0; i < x->nsteps; i++)
		if (prom_vals_has(x, i) && !prom_vals_histogram(x, i))
			prom_vals_set(out, i, x->v[i]);
	return out;
}

PromVals *
prom_vals_histograms(const PromVals *x)
{
	PromMixed	m = prom_mixed_new(x->nsteps);

	for (int i = 0; i < x->nsteps; i++)
		if (prom_vals_histogram(x, i))
			prom_mixed_copy(&m, i, x);
	return prom_mixed_finish(&m);
}

PromVals *
prom_vals_union(PromVals *a, const PromVals *b)
{
	PromMixed	m;

	prom_vals_check_equal(a->nsteps, b->nsteps);
	if (!prom_vals_is_mixed(a) && !prom_vals_is_mixed(b))
	{
		for (int i = 0; i < b->nsteps; i++)
			if (prom_vals_has(b, i) && !prom_vals_has(a, i))
				prom_vals_set(a, i, b->v[i]);
		a->notes |= b->notes;
		return a;
	}
	m = prom_mixed_new(a->nsteps);
	for (int i = 0; i < a->nsteps; i++)
	{
		if (prom_vals_has(a, i))
			prom_mixed_copy(&m, i, a);
		else if (prom_vals_has(b, i))
			prom_mixed_copy(&m, i, b);
	}
	m.vals->notes = a->notes | b->notes;
	return prom_mixed_finish(&m);
}
