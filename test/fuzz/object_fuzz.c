/*
 * object_fuzz.c
 *	  Directories and footers of objects of the tier, outside the server.
 *
 *		object_fuzz SECONDS [SEED]
 *
 * Made up ones are written, read back and compared; then they are spoiled, cut and extended, and read: what is taken for a
 * directory must be in order, without gaps, and sane.
 */
#include "c.h"

#include "archive/object.h"

#include "harness.h"

#define MAX_ENTRIES 300

static int
make_entries(PromObjectEntry *e)
{
	int			n = next_random() % MAX_ENTRIES;
	int64		offset = PROM_OBJECT_HEAD_BYTES;

	for (int i = 0; i < n; i++)
	{
		memset(&e[i], 0, sizeof(e[i]));
		e[i].part = i > 0 ? e[i - 1].part : next_random() % 3;
		e[i].block = i > 0 ? e[i - 1].block : 0;
		if (next_random() % 50 == 0)
		{
			e[i].part++;
			e[i].block = next_random() % 1000;
		}
		else
			e[i].block += next_random() % 4;
		e[i].t_min = (int64) next_random() >> (next_random() % 63);
		e[i].t_max = e[i].t_min > 0 ? e[i].t_min : e[i].t_min + (int64) (next_random() >> 2);
		e[i].samples = 1 + next_random() % 1000000;
		e[i].length = 1 + next_random() % 100000;
		e[i].offset = offset;
		e[i].crc = (uint32) next_random();
		e[i].series = next_random() | 1;
		offset += e[i].length;
	}
	return n;
}

static void
read_directory(const uint8 *bytes, size_t len, const PromObjectEntry *expected, int expected_n)
{
	uint8	   *copy = malloc(len + (len == 0));
	int			n;
	const char *reason;

	memcpy(copy, bytes, len);
	reason = prom_directory_count(copy, len, &n);
	if (reason == NULL)
	{
		PromObjectEntry *entry = calloc(n + (n == 0), sizeof(PromObjectEntry));

		reason = prom_directory_decode(copy, len, entry, n);
		if (reason == NULL)
		{
			int64		offset = PROM_OBJECT_HEAD_BYTES;

			for (int i = 0; i < n; i++)
			{
				if (entry[i].offset != offset || entry[i].length <= 0 || entry[i].samples <= 0 || entry[i].t_max < entry[i].t_min ||
					entry[i].series == 0 || entry[i].part < 0 || entry[i].block < 0)
					fail("a directory that is not sane was taken");
				if (i > 0 && (entry[i].part < entry[i - 1].part || (entry[i].part == entry[i - 1].part && entry[i].block < entry[i - 1].block)))
					fail("a directory that is not in order was taken");
				offset += entry[i].length;
			}
		}
		if (expected != NULL && (reason != NULL || n != expected_n || memcmp(entry, expected, sizeof(PromObjectEntry) * n) != 0))
			fail("a directory is not what was written");
		free(entry);
	}
	else if (expected != NULL)
		fail("a directory cannot be read back");
	free(copy);
}

static void
read_footer(void)
{
	PromFooter	f = {.offset = 8 + next_random() % 1000, .length = next_random() % 1000, .raw_length = next_random() % 1000, .crc = (uint32) next_random(),
		.chunks = next_random() % 1000, .own_crc = (uint32) next_random()};
	PromFooter	back = {0};
	uint8	   *bytes = malloc(PROM_OBJECT_FOOTER_BYTES);

	prom_footer_encode(bytes, &f);
	if (prom_footer_decode(bytes, &back) != NULL || back.offset != f.offset || back.length != f.length || back.raw_length != f.raw_length ||
		back.crc != f.crc || back.chunks != f.chunks || back.own_crc != f.own_crc)
		fail("a footer is not what was written");
	bytes[next_random() % PROM_OBJECT_FOOTER_BYTES] = (uint8) next_random();
	if (prom_footer_decode(bytes, &back) == NULL && (back.chunks > PROM_OBJECT_MAX_CHUNKS || back.raw_length > PROM_DIRECTORY_MAX_BYTES || back.offset < PROM_OBJECT_HEAD_BYTES))
		fail("a footer that is not sane was taken");
	free(bytes);
}

static void
one_round(void)
{
	static PromObjectEntry entry[MAX_ENTRIES];
	int			n = make_entries(entry);
	uint8	   *raw = malloc(prom_directory_room(n));
	size_t		len = prom_directory_encode(raw, entry, n);

	if (len > prom_directory_room(n))
		fail("a directory is longer than its room");
	read_directory(raw, len, entry, n);
	read_directory(raw, next_random() % (len + 1), NULL, 0);
	for (int i = 1 + next_random() % 5; i > 0; i--)
		raw[next_random() % len] = (uint8) next_random();
	read_directory(raw, len, NULL, 0);
	for (size_t i = next_random() % len; i < len; i++)
		raw[i] = (uint8) (next_random() % 3 == 0 ? next_random() : 0xff);
	read_directory(raw, len, NULL, 0);
	read_footer();
	free(raw);
}

int
main(int argc, char **argv)
{
	return fuzz_rounds(fuzz_begin(argc, argv), one_round);
}
