/*
 * workload.c
 *	  The workloads of the load generator.
 *
 * pods: counters, gauges and full mantissas under ten labels, 1,600 series to a metric, any number.
 * fleet: 100,000 series of what exporters really show: counters by handler and code, classic histograms whose
 * buckets agree with each other, CPU times, queue gauges, and containers a tenth of which are replaced each hour.
 * users: 100,000 values of one label.  history: a few series for months.
 */
#include "workload.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef void (*Put) (void *arg, const char *name, const char *value);

static uint64_t
mix(uint64_t a, uint64_t b)
{
	uint64_t	x = a * 0x9E3779B97F4A7C15u + b * 0xBF58476D1CE4E5B9u;

	x ^= x >> 29;
	x *= 0x94D049BB133111EBu;
	x ^= x >> 32;
	return x;
}

#define PUT_TEXT(name, ...) \
	do { snprintf(text, sizeof(text), __VA_ARGS__); put(arg, name, text); } while (0)

static bool
never(int s, int step)
{
	(void) s;
	(void) step;
	return false;
}

/* ---- pods ---- */

static int	pods_generation;
static int	pods_churn = 10;

void
workload_pods(int generation, int churn)
{
	pods_generation = generation;
	pods_churn = churn;
}

/* The last generation that replaced this target's pod. */
static int
pod_born(int target)
{
	int			turns = pods_churn <= 0 ? 0 : pods_churn > 100 ? 1 : 100 / pods_churn;	/* generations to replace every pod */
	int			turn = target % 100 * turns / 100 + 1;

	return turns == 0 || pods_generation < turn ? 0 : pods_generation - (pods_generation - turn) % turns;
}

static void
pods_labels(int s, int step, Put put, void *arg)
{
	char		text[100];
	int			target = s % 1600 / 16;

	(void) step;
	PUT_TEXT("__name__", "bench_metric_%d_total", s / 1600);
	put(arg, "cluster", "eu-central-1");
	put(arg, "env", "production");
	PUT_TEXT("instance", "10.0.%d.%d:9100", target / 250, target % 250);
	PUT_TEXT("job", "job-%d", target % 20);
	PUT_TEXT("mode", "mode-%d", s % 16);
	PUT_TEXT("namespace", "namespace-%d", target % 7);
	PUT_TEXT("node", "node-%d.internal.example", target);
	PUT_TEXT("pod", "pod-%d-%x", target, (target + pod_born(target) * 1000003u) * 2654435761u);
	put(arg, "region", "eu-central");
}

/* 60 % counters, 20 % small integers, 10 % decimals, 10 % full mantissas. */
static double
pods_value(int s, int step, double *state)
{
	uint64_t	x = mix(s, step);

	(void) state;
	switch (s % 10)
	{
		case 6:
		case 7:
			return (double) (x % 50);
		case 8:
			return (double) (x % 100000) / 1000;
		case 9:
			return (double) x / 1e12;
		default:
			return (double) step * (s % 97 + 1) + (double) (x % 3);
	}
}

/* ---- fleet ---- */

/* Ends of the families in the numbering of the series. */
enum
{
	REQUESTS = 19200,			/* 100 instances x 12 handlers x 4 methods x 4 codes */
	BUCKETS = REQUESTS + 32000, /* 100 instances x 20 handlers x 16 bounds */
	SUMS = BUCKETS + 2000,
	COUNTS = SUMS + 2000,
	CPU = COUNTS + 12800,		/* 100 instances x 16 processors x 8 modes */
	MEMORY = CPU + 1600,
	QUEUES = MEMORY + 10000,
	CAPACITIES = QUEUES + 10000,
	FLEET = CAPACITIES + 10400	/* containers */
};

#define STEPS_PER_HOUR 240

static const char *const handlers[20] = {
	"/", "/api/v1/orders", "/api/v1/orders/:id", "/api/v1/users", "/api/v1/users/:id", "/api/v1/cart", "/api/v1/search",
	"/api/v1/login", "/api/v1/logout", "/healthz", "/metrics", "/static", "/api/v2/orders", "/api/v2/users", "/api/v2/cart",
	"/api/v2/search", "/admin", "/admin/users", "/admin/jobs", "/favicon.ico"
};
static const char *const methods[4] = {"DELETE", "GET", "POST", "PUT"};
static const char *const codes[4] = {"200", "302", "404", "500"};
static const char *const modes[8] = {"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"};
static const char *const bounds[16] = {
	"0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0", "60.0", "+Inf"
};

static void
instance_labels(int instance, Put put, void *arg)
{
	char		text[100];

	PUT_TEXT("instance", "10.1.%d.%d:8080", instance / 250, instance % 250);
	PUT_TEXT("job", "job-%d", instance % 20);
}

/* How often the container of this slot was replaced before this step: once an hour, each at its own time. */
static int
generation(int s, int step)
{
	return (step + s % STEPS_PER_HOUR) / STEPS_PER_HOUR;
}

static bool
fleet_changes(int s, int step)
{
	return s >= CAPACITIES && step > 0 && generation(s, step) != generation(s, step - 1);
}

static void
container_labels(int slot, int number, Put put, void *arg)
{
	char		text[100];

	put(arg, "__name__", "container_memory_working_set_bytes");
	PUT_TEXT("container", "app-%d", slot % 26);
	PUT_TEXT("id", "/kubepods/burstable/pod%08llx/%016llx", (unsigned long long) mix(slot, number) >> 32,
			 (unsigned long long) mix(number, slot));
	PUT_TEXT("image", "registry.example/team-%d/app-%d:1.%d", slot % 8, slot % 26, number);
	PUT_TEXT("instance", "10.2.0.%d:10250", slot % 100);
	put(arg, "job", "kubelet");
	PUT_TEXT("namespace", "team-%d", slot % 8);
	PUT_TEXT("pod", "app-%d-%08llx-%05d", slot % 26, (unsigned long long) mix(number, slot % 26) >> 32, slot);
}

static void
fleet_labels(int s, int step, Put put, void *arg)
{
	char		text[100];

	if (s < REQUESTS)
	{
		put(arg, "__name__", "http_requests_total");
		put(arg, "code", codes[s % 4]);
		put(arg, "handler", handlers[s / 16 % 12]);
		instance_labels(s / 192, put, arg);
		put(arg, "method", methods[s / 4 % 4]);
	}
	else if (s < BUCKETS)
	{
		s -= REQUESTS;
		put(arg, "__name__", "http_request_duration_seconds_bucket");
		put(arg, "handler", handlers[s / 16 % 20]);
		instance_labels(s / 320, put, arg);
		put(arg, "le", bounds[s % 16]);
	}
	else if (s < COUNTS)
	{
		put(arg, "__name__", s < SUMS ? "http_request_duration_seconds_sum" : "http_request_duration_seconds_count");
		s = (s - BUCKETS) % 2000;
		put(arg, "handler", handlers[s % 20]);
		instance_labels(s / 20, put, arg);
	}
	else if (s < CPU)
	{
		s -= COUNTS;
		put(arg, "__name__", "node_cpu_seconds_total");
		PUT_TEXT("cpu", "%d", s / 8 % 16);
		instance_labels(s / 128, put, arg);
		put(arg, "mode", modes[s % 8]);
	}
	else if (s < MEMORY)
	{
		s -= CPU;
		put(arg, "__name__", "process_resident_memory_bytes");
		instance_labels(s % 100, put, arg);
		PUT_TEXT("pod", "web-%d", s);
	}
	else if (s < CAPACITIES)
	{
		put(arg, "__name__", s < QUEUES ? "queue_length" : "queue_capacity");
		s = (s - MEMORY) % 10000;
		instance_labels(s % 100, put, arg);
		PUT_TEXT("queue", "queue-%d", s);
	}
	else
		container_labels(s - CAPACITIES, generation(s, step), put, arg);
}

/* Requests of one handler at one instance between two steps that fell into bucket "bound" alone. */
static int
bucket_events(int handler, int bound, int step)
{
	int			busy = (int) (mix(handler, 1) % 8);	/* a quarter of the handlers is nearly idle */
	int			distance = bound - 6 - handler % 3;

	if (busy < 2)
		return mix(handler * 16 + bound, step) % 400 == 0;
	if (distance < 0)
		distance = -distance;
	return (int) (mix(handler * 16 + bound, step) % (busy * 8 + 1)) >> distance;
}

static double
fleet_value(int s, int step, double *state)
{
	uint64_t	x = mix(s, step);

	if (s < REQUESTS)
	{
		int			busy = (int) (mix(s, 7) % 10);

		/* three tenths stand still but for an event now and then */
		return *state += busy < 3 ? (x % 200 == 0) : (double) (x % (busy * busy * 4)) + busy;
	}
	if (s < BUCKETS)
	{
		int			handler = (s - REQUESTS) / 16;

		for (int bound = 0; bound <= (s - REQUESTS) % 16; bound++)
			*state += bucket_events(handler, bound, step);
		return *state;
	}
	if (s < COUNTS)
	{
		int			handler = (s - BUCKETS) % 2000;
		double		more = 0;

		for (int bound = 0; bound < 16; bound++)
			more += bucket_events(handler, bound, step) * (s < SUMS ? 0.0007 * (1 << bound) * (1 + (x % 1000) / 1000.0) : 1);
		return *state += more;
	}
	if (s < CPU)
	{
		static const int share[8] = {1200, 3, 0, 0, 2, 0, 60, 200};	/* hundredths of a second in 15 s */
		int			mean = share[(s - COUNTS) % 8];

		*state += mean ? (double) (x % (2 * mean)) : 0;
		return *state / 100;
	}
	if (s < MEMORY)
	{
		if (step == 0 || x % 3 == 0)
			*state = 4096.0 * (20000 + mix(s, 3) % 30000 + x % 500);
		return *state;
	}
	if (s < QUEUES)
		return (double) (x % 7 == 0 ? x % 100 : 0);
	if (s < CAPACITIES)
		return 100 * (1 + s % 5);
	if (step == 0 || x % 4 != 0)
		*state = 4096.0 * (5000 + mix(s, 5) % 60000 + x % 3000);
	return *state;
}

/* ---- users ---- */

static void
users_labels(int s, int step, Put put, void *arg)
{
	char		text[100];

	(void) step;
	put(arg, "__name__", "session_last_seen_timestamp_seconds");
	instance_labels(s % 100, put, arg);
	PUT_TEXT("user", "u%06d", s);
}

static double
users_value(int s, int step, double *state)
{
	(void) state;
	return 1.7e9 + (double) (mix(s, step) % 86400);
}

/* ---- history ---- */

static void
history_labels(int s, int step, Put put, void *arg)
{
	char		text[100];

	(void) step;
	put(arg, "__name__", s < 20 ? "room_temperature_celsius" : "room_energy_joules_total");
	PUT_TEXT("building", "b%d", s % 4);
	PUT_TEXT("room", "r%02d", s % 20);
}

/* A temperature in tenths that wanders about its daily course; a meter of whole joules. */
static double
history_value(int s, int step, double *state)
{
	uint64_t	x = mix(s, step);

	if (s >= 20)
		return *state += 200 + x % (50 * (s - 19));
	*state += x % 5 == 0 ? (double) (x / 5 % 3) - 1 - (*state > 20) + (*state < -20) : 0;
	return round(210 + 40 * sin(step * (2 * 3.14159265358979 / 5760)) + *state) / 10;
}

/* ---- all of them ---- */

static const Workload workloads[] = {
	{"pods", 0, "1,600 series to a metric, ten labels", pods_labels, never, pods_value},
	{"fleet", FLEET, "exporters of 100 instances: counters, histograms, gauges, churn", fleet_labels, fleet_changes, fleet_value},
	{"users", 100000, "one metric, a series per user", users_labels, never, users_value},
	{"history", 40, "few series for months", history_labels, never, history_value},
};

const Workload *
workload_find(const char *name)
{
	for (unsigned i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
		if (strcmp(workloads[i].name, name) == 0)
			return &workloads[i];
	return NULL;
}

void
workload_list(void)
{
	for (unsigned i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
		fprintf(stderr, "  %-8s %s\n", workloads[i].name, workloads[i].what);
}
