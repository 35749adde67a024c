/*
 * workload.h
 *	  What the load generator sends: a set of series and the values of each, step by step.
 *
 * Deterministic: the same workload gives the same series and values on every run and machine.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Workload
{
	const char *name;
	int			nseries;		/* 0: as many as the caller likes */
	const char *what;

	/* Call put(arg, name, value) for each label of series s from this step on, in the order of the names. */
	void		(*labels) (int s, int step, void (*put) (void *arg, const char *name, const char *value), void *arg);

	/* Does series s have other labels at this step than at the one before (a pod was replaced)? */
	bool		(*changes) (int s, int step);

	/* The value at this step; *state is 0 at first and the workload's from then on.  Steps come in order. */
	double		(*value) (int s, int step, double *state);
} Workload;

/* NULL if there is none of that name. */
extern const Workload *workload_find(const char *name);

/* Of "pods": of every 100 targets, "churn" get other pods with each generation. */
extern void workload_pods(int generation, int churn);

/* Names and what they are, to stderr. */
extern void workload_list(void);

#endif							/* BENCH_WORKLOAD_H */
