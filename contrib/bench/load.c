/*
 * load.c
 *	  A load generator: remote_write bodies over HTTP keep-alive connections.
 *
 * Usage: load URL-HOST PORT PATH SERIES SAMPLES-PER-SERIES [BODY-SAMPLES [CONNECTIONS [START-MS [STEP-MS
 *		[GENERATION [CHURN]]]]]]
 *
 * Of every 100 targets, CHURN get other pods with each GENERATION, hence other series (0, 10).
 *
 * Ten labels per series, one new sample of every series per step.  Every connection sends its own series,
 * waits for each answer, and stops at the first that is not 2xx.  Values are like an exporter's: 60 %
 * counters, 20 % small integers, 10 % decimals, 10 % full mantissas.  Prints samples per second, the
 * answer times, and its own CPU time, so that this can be taken off the server's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <snappy-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct Buffer
{
	uint8_t    *data;
	size_t		len;
	size_t		size;
} Buffer;

typedef struct Sender
{
	pthread_t	thread;
	int			number;
	int			fd;
	long		samples;
	long		requests;
	double	   *seconds;		/* of each answer */
	char		error[300];
} Sender;

static const char *host;
static const char *path;
static int	port;
static int	nseries;
static int	nsteps;
static int	body_samples = 2000;
static int	connections = 4;
static int64_t start_ms;
static int64_t step_ms = 15000;
static int	generation;
static int	churn = 10;
static Buffer *labels;			/* of each series, as protobuf */

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void
put(Buffer *b, const void *data, size_t len)
{
	if (b->len + len > b->size)
	{
		b->size = (b->len + len) * 2;
		b->data = realloc(b->data, b->size);
		if (b->data == NULL)
			abort();
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

static void
put_varint(Buffer *b, uint64_t v)
{
	uint8_t		bytes[10];
	int			n = 0;

	for (; v >= 0x80; v >>= 7)
		bytes[n++] = (uint8_t) v | 0x80;
	bytes[n++] = (uint8_t) v;
	put(b, bytes, n);
}

static void
put_field(Buffer *b, int number, const void *data, size_t len)
{
	put_varint(b, number << 3 | 2);
	put_varint(b, len);
	put(b, data, len);
}

static void
put_label(Buffer *b, const char *name, const char *value)
{
	Buffer		l = {0};

	put_field(&l, 1, name, strlen(name));
	put_field(&l, 2, value, strlen(value));
	put_field(b, 1, l.data, l.len);
	free(l.data);
}

/* 1600 series per metric; labels in the order of their names, as senders do. */
static void
make_labels(int s)
{
	Buffer	   *b = &labels[s];
	char		text[100];
	int			target = s % 1600 / 16;
	int			born = 0;		/* the last generation that replaced this target's pod */

	if (churn > 0)
	{
		int			turns = 100 / churn > 1 ? 100 / churn : 1;	/* generations to replace every pod */
		int			turn = target % 100 * turns / 100 + 1;

		if (generation >= turn)
			born = generation - (generation - turn) % turns;
	}
	snprintf(text, sizeof(text), "bench_metric_%d_total", s / 1600);
	put_label(b, "__name__", text);
	put_label(b, "cluster", "eu-central-1");
	put_label(b, "env", "production");
	snprintf(text, sizeof(text), "10.0.%d.%d:9100", target / 250, target % 250);
	put_label(b, "instance", text);
	snprintf(text, sizeof(text), "job-%d", target % 20);
	put_label(b, "job", text);
	snprintf(text, sizeof(text), "mode-%d", s % 16);
	put_label(b, "mode", text);
	snprintf(text, sizeof(text), "namespace-%d", target % 7);
	put_label(b, "namespace", text);
	snprintf(text, sizeof(text), "node-%d.internal.example", target);
	put_label(b, "node", text);
	snprintf(text, sizeof(text), "pod-%d-%x", target, (target + born * 1000003u) * 2654435761u);
	put_label(b, "pod", text);
	put_label(b, "region", "eu-central");
}

static double
value_of(int s, int step)
{
	uint64_t	x = (uint64_t) s * 0x9E3779B97F4A7C15u + (uint64_t) step * 0xBF58476D1CE4E5B9u;

	x ^= x >> 29;
	x *= 0x94D049BB133111EBu;
	x ^= x >> 32;
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

static void
make_body(Buffer *message, int first, int last, int step)
{
	message->len = 0;
	for (int s = first; s < last; s++)
	{
		uint8_t		sample[32];
		Buffer		b = {sample, 0, sizeof(sample)};
		double		v = value_of(s, step);

		put(&b, "\x09", 1);
		put(&b, &v, 8);
		put(&b, "\x10", 1);
		put_varint(&b, start_ms + step * step_ms);
		put(message, "\x0a", 1);
		put_varint(message, labels[s].len + 2 + b.len);
		put(message, labels[s].data, labels[s].len);
		put_field(message, 2, b.data, b.len);
	}
}

static bool
send_all(int fd, const void *data, size_t len)
{
	for (size_t done = 0; done < len;)
	{
		ssize_t		n = send(fd, (const char *) data + done, len - done, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		done += n;
	}
	return true;
}

/* Post one body and read the answer, which must fit the buffer. */
static bool
post(Sender *me, const char *body, size_t len)
{
	char		text[4096];
	int			n = snprintf(text, sizeof(text), "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-protobuf\r\n"
							 "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: %zu\r\n\r\n",
							 path, host, len);
	size_t		got = 0;
	char	   *end;

	if (!send_all(me->fd, text, n) || !send_all(me->fd, body, len))
	{
		snprintf(me->error, sizeof(me->error), "send: %s", strerror(errno));
		return false;
	}
	for (;;)
	{
		ssize_t		r = recv(me->fd, text + got, sizeof(text) - 1 - got, 0);
		char	   *length;

		if (r <= 0)
		{
			snprintf(me->error, sizeof(me->error), "receive: %s", r < 0 ? strerror(errno) : "connection closed");
			return false;
		}
		got += r;
		text[got] = '\0';
		if ((end = strstr(text, "\r\n\r\n")) == NULL)
			continue;
		length = strcasestr(text, "content-length:");
		if (length && length < end && got < (size_t) (end + 4 - text) + atol(length + 15))
			continue;
		break;
	}
	if (strncmp(text, "HTTP/1.1 2", 10) == 0)
		return true;
	snprintf(me->error, sizeof(me->error), "%.250s", text);
	return false;
}

static void *
send_series(void *arg)
{
	Sender	   *me = arg;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int			one = 1;
	Buffer		message = {0};
	char	   *body = malloc(snappy_max_compressed_length((size_t) body_samples * 600));

	inet_pton(AF_INET, host, &address.sin_addr);
	me->fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(me->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(me->fd, (struct sockaddr *) &address, sizeof(address)) != 0)
	{
		snprintf(me->error, sizeof(me->error), "connect: %s", strerror(errno));
		return NULL;
	}
	for (int step = 0; step < nsteps; step++)
	{
		for (int first = me->number * body_samples; first < nseries; first += connections * body_samples)
		{
			int			last = first + body_samples < nseries ? first + body_samples : nseries;
			size_t		len = snappy_max_compressed_length((size_t) body_samples * 600);
			double		began;

			make_body(&message, first, last, step);
			snappy_compress((char *) message.data, message.len, body, &len);
			began = now();
			if (!post(me, body, len))
				return NULL;
			me->seconds[me->requests++] = now() - began;
			me->samples += last - first;
		}
	}
	return NULL;
}

static int
compare_seconds(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
	Sender	   *senders;
	double		began;
	double		took;
	double	   *all;
	long		samples = 0;
	long		requests = 0;
	struct rusage usage;
	int			failed = 0;

	if (argc < 6)
	{
		fprintf(stderr, "usage: %s HOST PORT PATH SERIES STEPS [BODY-SAMPLES [CONNECTIONS [START-MS [STEP-MS [GENERATION [CHURN]]]]]]\n", argv[0]);
		return 2;
	}
	host = argv[1];
	port = atoi(argv[2]);
	path = argv[3];
	nseries = atoi(argv[4]);
	nsteps = atoi(argv[5]);
	if (argc > 6)
		body_samples = atoi(argv[6]);
	if (argc > 7)
		connections = atoi(argv[7]);
	start_ms = argc > 8 ? strtoll(argv[8], NULL, 10) : ((int64_t) time(NULL) - (int64_t) nsteps * step_ms / 1000) * 1000;
	if (argc > 9)
		step_ms = atoi(argv[9]);
	if (argc > 10)
		generation = atoi(argv[10]);
	if (argc > 11)
		churn = atoi(argv[11]);

	labels = calloc(nseries, sizeof(Buffer));
	for (int s = 0; s < nseries; s++)
		make_labels(s);
	senders = calloc(connections, sizeof(Sender));
	began = now();
	for (int i = 0; i < connections; i++)
	{
		senders[i].number = i;
		senders[i].seconds = calloc(((size_t) nseries / body_samples + 1) * nsteps, sizeof(double));
		pthread_create(&senders[i].thread, NULL, send_series, &senders[i]);
	}
	for (int i = 0; i < connections; i++)
	{
		pthread_join(senders[i].thread, NULL);
		samples += senders[i].samples;
		requests += senders[i].requests;
		if (senders[i].error[0])
		{
			fprintf(stderr, "connection %d: %s\n", i, senders[i].error);
			failed = 1;
		}
	}
	took = now() - began;
	all = calloc(requests + 1, sizeof(double));
	requests = 0;
	for (int i = 0; i < connections; i++)
		for (long r = 0; r < senders[i].requests; r++)
			all[requests++] = senders[i].seconds[r];
	qsort(all, requests, sizeof(double), compare_seconds);
	getrusage(RUSAGE_SELF, &usage);
	printf("%ld samples in %.2f s: %.0f samples/s; answers ms median %.2f, 99%% %.2f, max %.2f; own cpu %.2f s\n",
		   samples, took, samples / took, requests ? 1000 * all[requests / 2] : 0, requests ? 1000 * all[requests * 99 / 100] : 0,
		   requests ? 1000 * all[requests - 1] : 0,
		   usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	return failed;
}
