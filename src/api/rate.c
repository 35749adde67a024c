/*
 * rate.c
 *	  How many samples a second the gateway takes: a bucket that may go into debt.
 *
 * A body's samples are counted by the backend that stores it, so they are taken out of the bucket when
 * they have been stored.  While the bucket is in debt, bodies are refused before they are read.  What
 * was under way then comes on top of it, and is paid back before anyone is let in again: over time the
 * rate holds.
 */
#include "postgres.h"

#include <math.h>

#include "utils/guc.h"
#include "utils/timestamp.h"

#include "api/gateway.h"

/* An idle bucket holds the samples of so many seconds. */
#define PROM_RATE_BURST_S	5

static int	samples_per_second;
static double bucket;
static TimestampTz filled = 0;

static void fill(void);

void
prom_rate_init(void)
{
	DefineCustomIntVariable("promgres.max_samples_per_second",
							"Sets how many samples a second the gateway stores.",
							"Above it, remote write is answered with status 429. 0 is no limit.",
							&samples_per_second,
							0, 0, PG_INT32_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
}

bool
prom_rate_check(PromRequest *r)
{
	fill();
	if (samples_per_second == 0 || bucket >= 0)
		return true;
	r->retry_later = true;
	r->retry_after_s = (int) Min(ceil(-bucket / samples_per_second), 3600);
	prom_answer_text(r, 429, "more samples than promgres.max_samples_per_second = %d allows\n",
					 samples_per_second);
	return false;
}

void
prom_rate_charge(int64 samples)
{
	fill();
	bucket -= samples;
}

static void
fill(void)
{
	TimestampTz now = GetCurrentTimestamp();
	double		most = (double) samples_per_second * PROM_RATE_BURST_S;

	if (filled == 0)
		bucket = most;
	else if (now > filled)
		bucket += (double) samples_per_second * (now - filled) / USECS_PER_SEC;
	filled = now;

	/* Nobody owes anything while there is no limit. */
	bucket = samples_per_second == 0 ? 0 : Min(bucket, most);
}
