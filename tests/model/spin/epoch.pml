/* epoch: what was unlinked is not reused under a reader. The protocol of src/index/epoch.c over one
 * pointer that is replaced twice, with two readers; between steps every interleaving, memory
 * sequentially consistent (the weaker kinds are the business of tests/sim/lockfree_test.c), but for
 * the reader's claim of its slot, which a mutant lets linger in a store buffer.
 *
 *   E1 a pinned reader never looks at an object that was reused.
 *
 * Mutants, each of which must fail:
 *   -DNOT_ABOVE     reuses what was stamped with the safe epoch itself
 *   -DSTAMP_FIRST   takes the stamp before it unlinks
 *   -DPIN_LATE      the reader gets the pointer before it is pinned
 *   -DPIN_BUFFERED  the claim of a slot is no fence: others see it later
 *   -DSKIPS_A_SLOT  fx_epoch_safe does not look at the last slot
 */
#define SLOTS 2
#define OBJECTS 3

byte now = 1;
byte slots[SLOTS];
byte current;         /* the object that readers find */
bool reused[OBJECTS];

/* Claims slot `at`, for each reader its own: two readers that meet in one slot only try on. */
inline pin(at) {
    mine = now;
#ifdef PIN_BUFFERED
    buffered = mine;
#else
    slots[at] = mine;
    do
    :: now != mine ->
        mine = now;
        slots[at] = mine
    :: else -> break
    od
#endif
}

proctype reader(byte at) {
    byte object, mine, buffered, round;
    do
    :: round < 2 ->
        round++;
#ifdef PIN_LATE
        object = current;
        pin(at);
#else
        pin(at);
        object = current;
#endif
        assert(!reused[object]);
        if
        :: buffered != 0 -> slots[at] = buffered /* the buffer drains at last */
        :: else
        fi;
        assert(!reused[object]);
        slots[at] = 0
    :: else -> break
    od
}

proctype retirer() {
    byte old, stamp, safe, i;
    byte next = 1;
    do
    :: next < OBJECTS ->
        old = current;
#ifdef STAMP_FIRST
        d_step { stamp = now; now++ };
        current = next;
#else
        current = next;
        d_step { stamp = now; now++ };
#endif
        safe = now;
        i = 0;
        do
#ifdef SKIPS_A_SLOT
        :: i < SLOTS - 1 ->
#else
        :: i < SLOTS ->
#endif
            d_step {
                if
                :: slots[i] != 0 && slots[i] < safe -> safe = slots[i]
                :: else
                fi
            };
            i++
        :: else -> break
        od;
        if
#ifdef NOT_ABOVE
        :: safe >= stamp -> reused[old] = true
#else
        :: safe > stamp -> reused[old] = true
#endif
        :: else
        fi;
        next++
    :: else -> break
    od
}

init {
    atomic {
        run reader(0);
        run reader(1);
        run retirer()
    }
}
