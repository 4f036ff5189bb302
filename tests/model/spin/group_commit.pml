/* group_commit: who may say that a commit is durable. The protocol of src/engine/flusher.c (enter,
 * sync, leave) and src/engine/group.c (cut, write, finish), without what is written.
 *
 * Writers commit under their shard's lock, remember the open group, and wait until it is durable;
 * one of those who wait leads the flush. A further process flushes in the background. The device
 * may fail once; the store is read-only from then on.
 *
 *   G1 whoever is told that a group is durable finds its commit on the device;
 *   G2 what is on the device has no hole: with a commit, all that had returned before it began;
 *   G3 nobody waits for ever (no invalid end state).
 *
 * Mutants, each of which must fail:
 *   -DEARLY_ACK     the group is called durable before the device has synced it
 *   -DCUT_ONE_BY_ONE the shards are cut one after the other, each under its own lock
 *   -DNOT_STICKY    a failed flush is forgotten: the next one finds nothing to write and succeeds
 *   -DLOST_WAKE     leave does not wake who waits
 */
#define WRITERS 3
#define SHARDS 2

bool shard_locked[SHARDS];
byte open_half[SHARDS];  /* a bit for each commit */
byte in_flight[SHARDS];
byte on_device;
byte open_group = 1;
byte durable_group = 0;
bool failed;

bool gate_locked;
bool busy;
byte turn; /* the condition: changes when all are woken */

byte returned;         /* commits that have returned */
byte before[WRITERS];  /* those that had when this one began */

inline lock(l) {
    atomic { !l -> l = true }
}

inline unlock(l) {
    l = false
}

inline check_no_hole() {
    d_step {
        assert((on_device & 1) == 0 || (before[0] & ~on_device) == 0);
        assert((on_device & 2) == 0 || (before[1] & ~on_device) == 0);
        assert((on_device & 4) == 0 || (before[2] & ~on_device) == 0)
    }
}

/* mine: the caller owns the volume. */
inline enter(g) {
    lock(gate_locked);
    do
    :: busy && durable_group < g ->
        seen = turn;
        unlock(gate_locked);
        turn != seen; /* waiting gives the gate up and sleeps at once: `seen` was read inside */
        lock(gate_locked)
    :: else -> break
    od;
    mine = false;
    if
    :: durable_group < g ->
        busy = true;
        mine = true
    :: else
    fi;
    unlock(gate_locked)
}

inline leave() {
    lock(gate_locked);
    busy = false;
#ifndef LOST_WAKE
    turn++;
#endif
    unlock(gate_locked)
}

inline cut() {
#ifdef CUT_ONE_BY_ONE
    lock(shard_locked[0]);
    d_step { in_flight[0] = open_half[0]; open_half[0] = 0 };
    unlock(shard_locked[0]);
    lock(shard_locked[1]);
    d_step { in_flight[1] = open_half[1]; open_half[1] = 0; p = open_group; open_group++ };
    unlock(shard_locked[1]);
    any = (in_flight[0] | in_flight[1]) != 0
#else
    lock(shard_locked[0]);
    lock(shard_locked[1]);
    any = (open_half[0] | open_half[1]) != 0;
    if
    :: any ->
        d_step { in_flight[0] = open_half[0]; open_half[0] = 0 };
        d_step { in_flight[1] = open_half[1]; open_half[1] = 0 };
        p = open_group;
        open_group++
    :: else
    fi;
    unlock(shard_locked[0]);
    unlock(shard_locked[1])
#endif
}

/* The owner. ok: FEOX_OK. */
inline flush() {
    ok = true;
#ifndef NOT_STICKY
    ok = !failed;
#endif
    if
    :: ok ->
        cut();
        if
        :: any ->
#ifdef EARLY_ACK
            durable_group = p;
#endif
            if
            :: on_device = on_device | in_flight[0] | in_flight[1];
                check_no_hole();
                in_flight[0] = 0;
                in_flight[1] = 0;
                durable_group = p
            :: !failed ->
                failed = true;
                ok = false
            fi
        :: else
        fi
    :: else
    fi
}

proctype writer(byte id) {
    byte g, p, seen;
    bool mine, ok, any;
    before[id] = returned;
    lock(shard_locked[id % SHARDS]);
    open_half[id % SHARDS] = open_half[id % SHARDS] | (1 << id);
    g = open_group;
    unlock(shard_locked[id % SHARDS]);
    returned = returned | (1 << id);
    /* sync */
    ok = true;
    if
    :: durable_group >= g
    :: else ->
        enter(g);
        if
        :: mine ->
            flush();
            leave()
        :: else
        fi
    fi;
    assert(!ok || (on_device & (1 << id)) != 0)
}

proctype background() {
    byte p, seen;
    bool mine, ok, any;
    do
    :: true ->
        enter(255);
        flush();
        leave();
        break
    :: true -> break
    od
}

init {
    atomic {
        run writer(0);
        run writer(1);
        run writer(2);
        run background()
    }
}
