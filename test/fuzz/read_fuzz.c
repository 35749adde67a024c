/*
 * read_fuzz.c
 *	  Throws bytes at the remote read request, and samples at the XOR chunk, outside the server.
 *
 *		read_fuzz SECONDS [SEED]
 *
 * Each round builds a ReadRequest whose contents are known, reads it back and compares; then damages it:
 * whatever comes, what passes the check must be walked without a byte read outside.  And it encodes
 * samples of all sorts, decodes them with a decoder of its own, and compares bits; then sends bytes through
 * snappy piece by piece, which the library must read as one block.
 */
#include "c.h"

#include <snappy-c.h>

#include "common/bytes.h"
#include "wire/wire.h"

#include "harness.h"

#define MAX_MESSAGE 4096
#define DAMAGED_COPIES 20

/* ---- requests ---- */

static uint8 *
put_matcher(uint8 *out, uint32 type, const char *name, const char *value)
{
	uint8		inner[256];
	uint8	   *end = inner;

	if (type != 0)
		end = prom_wire_put_number(end, 1, type);
	end = prom_wire_put_bytes(end, 2, name, strlen(name));
	end = prom_wire_put_bytes(end, 3, value, strlen(value));
	return prom_wire_put_bytes(out, 3, inner, end - inner);
}

/* All pointers that a walk hands out lie inside. */
static void
walk(const uint8 *message, size_t len, uint32 nqueries)
{
	PromReadQuery q;
	PromReadMatcher m;
	size_t		pos = 0;
	uint32		queries = 0;
	volatile uint8 sum = 0;

	while (prom_read_query(message, len, &pos, &q))
	{
		size_t		at = 0;
		uint32		matchers = 0;

		queries++;
		while (prom_read_matcher(&q, &at, &m))
		{
			matchers++;
			expect(m.type <= 3, "type of a matcher");
			for (size_t i = 0; i < m.name_len; i++)
				sum += m.name[i];
			for (size_t i = 0; i < m.value_len; i++)
				sum += m.value[i];
		}
		expect(matchers == q.nmatchers, "number of matchers");
	}
	expect(queries == nqueries, "number of queries");
}

static void
one_request(void)
{
	uint8		message[MAX_MESSAGE];
	uint8	   *end = message;
	uint32		nqueries = next_random() % 4;
	uint32		types = next_random() % 3;
	uint32		wanted = PROM_READ_SAMPLES;
	uint32		found;
	uint32		response;
	PromWireError err;
	PromReadQuery q;
	size_t		pos = 0;
	int64		start = (int64) next_random();
	size_t		len;

	for (uint32 i = 0; i < nqueries; i++)
	{
		uint8		query[1024];
		uint8	   *at = prom_wire_put_number(query, 1, (uint64) start);

		at = prom_wire_put_number(at, 2, (uint64) -start);
		for (uint32 k = 0; k < i; k++)
			at = put_matcher(at, k % 4, "name", "value");
		if (next_random() % 2)
			at = prom_wire_put_bytes(at, 4, "\x08\x05", 2);	/* hints */
		end = prom_wire_put_bytes(end, 1, query, at - query);
	}
	if (types == 1)
		end = prom_wire_put_number(end, 2, wanted = next_random() % 2);
	else if (types == 2)		/* packed, with one that nobody knows in front */
	{
		uint8		packed[] = {9, wanted = next_random() % 2};

		end = prom_wire_put_bytes(end, 2, packed, sizeof(packed));
	}
	len = end - message;
	expect(prom_read_check(message, len, &found, &response, &err), "a good request");
	expect(found == nqueries && response == wanted, "what it asks for");
	walk(message, len, nqueries);
	for (uint32 i = 0; prom_read_query(message, len, &pos, &q); i++)
		expect(q.start_ms == start && q.end_ms == -start && q.nmatchers == i, "a query");

	for (int i = 0; i < DAMAGED_COPIES; i++)
	{
		size_t		size = len > 0 && next_random() % 3 == 0 ? next_random() % len : len;
		uint8	   *copy = malloc(Max(size, 1));

		memcpy(copy, message, size);
		for (uint64 k = next_random() % 4; size > 0 && k > 0; k--)
			copy[next_random() % size] = (uint8) next_random();
		if (prom_read_check(copy, size, &found, &response, &err))
			walk(copy, size, found);
		else
			expect(err.reason != NULL && err.offset <= size, "a reason and its place");
		free(copy);
	}
}

/* ---- chunks ---- */

static uint64
get_varint(BitReader *r)
{
	uint64		v = 0;

	for (int shift = 0;; shift += 7)
	{
		uint64		c = get_bits(r, 8);

		v |= (c & 127) << shift;
		if (c < 128)
			return v;
	}
}

static uint64
get_change(BitReader *r)
{
	static const int widths[] = {14, 17, 20, 64};
	int			i = 0;
	uint64		v;

	if (get_bits(r, 1) == 0)
		return 0;
	while (i < 3 && get_bits(r, 1) == 1)
		i++;
	v = get_bits(r, widths[i]);
	if (widths[i] < 64 && v > UINT64CONST(1) << (widths[i] - 1))
		v -= UINT64CONST(1) << widths[i];
	return v;
}

static void
check_chunk(const uint8 *data, size_t len, int n, const int64 *t_ms, const uint64 *bits)
{
	BitReader	r = {data, len, 0};
	uint64		t = 0;
	uint64		v = 0;
	uint64		distance = 0;
	int			leading = 0;
	int			width = 0;

	expect(get_bits(&r, 16) == n, "number of samples");
	for (int i = 0; i < n; i++)
	{
		if (i == 0)
		{
			t = (uint64) prom_zigzag_decode(get_varint(&r));
			v = get_bits(&r, 64);
		}
		else
		{
			distance = i == 1 ? get_varint(&r) : distance + get_change(&r);
			t += distance;
			if (get_bits(&r, 1) == 1)
			{
				if (get_bits(&r, 1) == 1)
				{
					leading = (int) get_bits(&r, 5);
					width = (int) get_bits(&r, 6);
					width = width == 0 ? 64 : width;
				}
				v ^= get_bits(&r, width) << (64 - leading - width);
			}
		}
		expect(t == (uint64) t_ms[i], "a time");
		expect(v == bits[i], "a value");
	}
	expect((r.at + 7) / 8 == len, "length of the chunk");
}

static void
one_chunk(void)
{
	int64		t_ms[PROM_XOR_SAMPLES];
	uint64		bits[PROM_XOR_SAMPLES];
	double		values[PROM_XOR_SAMPLES];
	int			n = 1 + (int) (next_random() % PROM_XOR_SAMPLES);
	int			shift = (int) (next_random() % 64);
	bool		wild = next_random() % 4 == 0;
	uint8	   *out = malloc(PROM_XOR_ROOM);
	size_t		len;

	for (int i = 0; i < n; i++)
	{
		uint64		step = 1 + (wild ? next_random() >> (14 + next_random() % 40) : 15000 + next_random() % 3);

		t_ms[i] = i == 0 ? (int64) (next_random() >> 1 >> shift) * (next_random() % 2 ? 1 : -1) :
			t_ms[i - 1] > PG_INT64_MAX - (int64) step ? t_ms[i - 1] : t_ms[i - 1] + (int64) step;
		if (i > 0 && t_ms[i] == t_ms[i - 1])
		{
			n = i;
			break;
		}
		bits[i] = next_random() % 3 == 0 && i > 0 ? bits[i - 1] : next_random() << shift >> (wild ? 0 : next_random() % 64);
		memcpy(&values[i], &bits[i], sizeof(double));
	}
	len = prom_xor_encode(out, n, t_ms, values);
	expect(len <= PROM_XOR_ROOM, "room of a chunk");
	check_chunk(out, len, n, t_ms, bits);
	free(out);
}

/* ---- pieces of snappy's ---- */

static void
one_block(void)
{
	size_t		len = next_random() % (3 * PROM_SNAPPY_PIECE);
	uint8	   *in = malloc(Max(len, 1));
	uint8	   *back = malloc(Max(len, 1));
	uint8	   *out = malloc(10 + 3 * PROM_SNAPPY_ROOM);
	uint64		range = 1 + next_random() % 255;
	size_t		size;
	size_t		back_len = len;

	for (size_t i = 0; i < len; i++)
		in[i] = (uint8) (next_random() % range);
	size = prom_snappy_head(out, len);
	for (size_t at = 0; at < len; at += PROM_SNAPPY_PIECE)
		size += prom_snappy_piece(in + at, Min(len - at, PROM_SNAPPY_PIECE), out + size);
	expect(snappy_uncompress((char *) out, size, (char *) back, &back_len) == SNAPPY_OK &&
		   back_len == len && memcmp(in, back, len) == 0, "a block of pieces");
	free(in);
	free(back);
	free(out);
}

static void
one_round(void)
{
	for (int i = 0; i < 20; i++)
	{
		one_request();
		one_chunk();
	}
	one_block();
}

int
main(int argc, char **argv)
{
	return fuzz_rounds(fuzz_begin(argc, argv), one_round);
}
