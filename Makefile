# promgres: long-term storage for Prometheus metrics inside PostgreSQL.
#
#   make demo     see it work (installs what is needed; DEMO_SECONDS=n ends it)
#   make demo-s3  the same, with old samples in an S3 on this machine
#   make test     run every test
#   make web      build the page of web/ anew; only who changes it needs this (and node)
#   make          build; make install puts it into the server that pg_config names

EXTENSION  = promgres
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" promgres.control)
MODULE_big = promgres
SCRIPT     = sql/promgres--$(EXTVERSION).sql
DATA       = $(wildcard sql/upgrade/promgres--*--*.sql)
DATA_built = $(SCRIPT)

SOURCES = $(sort $(wildcard src/*.c src/*/*.c src/*/*.cc))
PARSER  = src/promql/scan.c src/promql/gram.c
OBJS    = $(sort $(patsubst %.cc,%.o,$(patsubst %.c,%.o,$(filter-out $(PARSER),$(SOURCES)))) \
            $(patsubst %.c,%.o,$(if $(wildcard src/promql/gram.y),$(PARSER))))

PG_CPPFLAGS = -Isrc -I$(shell $(PG_CONFIG) --includedir) -DPROM_VERSION='"$(EXTVERSION)"'
# What the server's own headers do not pass under -Wextra stays off.
PG_CFLAGS   = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
PG_CXXFLAGS = -std=c++17
SHLIB_LINK  = -lmicrohttpd -lgnutls -lpq -lsnappy -lzstd -lz -lre2 -lcurl -lcrypto -lexpat -lstdc++
EXTRA_CLEAN = sql/promgres--*.sql src/promql/scan.c src/promql/gram.c src/promql/gram.h

PG_CONFIG ?= pg_config

# The page, as it is committed; "make web" makes it anew from web/src and needs node.
PAGE = $(addprefix web/dist/,index.html app.js app.css icon.svg licences.txt)
EXTRA_CLEAN += $(PAGE:=.gz)

# LLVM bitcode would need clang and gains nothing here: our functions are not inlined.
override with_llvm := no
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))

# These install what they need, a server included, and then call make again.
ifneq ($(filter demo demo-s3 test,$(MAKECMDGOALS)),)
.PHONY: demo demo-s3 test
demo:
	@contrib/setup/install.sh build demo
	@contrib/demo/run
demo-s3:
	@contrib/setup/install.sh build demo-s3
	@contrib/demo/run s3
test:
	@contrib/setup/install.sh build test
	@test/run
else

ifeq ($(PGXS),)
$(error no PostgreSQL to build for: install postgresql-server-dev-15 or set PG_CONFIG)
endif
include $(PGXS)

ifdef WERROR
override CFLAGS += -Werror
endif

# The loops over all samples; with the flags that PostgreSQL has for such of its own.
src/chunk/codec_%.o src/chunk/block.o: override CFLAGS += $(CFLAGS_UNROLL_LOOPS) $(CFLAGS_VECTORIZE)

$(OBJS): $(filter-out src/promql/gram.h,$(wildcard src/*/*.h))
src/promql/parse.o src/promql/scan.o: src/promql/gram.h
src/promql/gram.h: src/promql/gram.c
	@touch $@
src/promql/gram.c: src/promql/gram.y
	$(BISON) -Wno-deprecated -d -o $@ $<
src/promql/scan.c: src/promql/scan.l
	$(FLEX) -o $@ $<

src/api/page.o: $(PAGE) $(PAGE:=.gz)
web/dist/%.gz: web/dist/%
	gzip -9nc $< > $@

.PHONY: web
web:
	cd web && npm ci && npm run build

$(SCRIPT): $(sort $(wildcard sql/install/*.sql)) promgres.control
	{ printf '%s\n' '\echo Use "CREATE EXTENSION promgres" to load this file. \quit'; cat $(sort $(wildcard sql/install/*.sql)); } > $@

endif
