/* Failover of a cluster: who leads it, under which epoch, and what a leader of before can still write.
 *
 * The cluster is one row (clusters.clusters). Whoever changes it locks it first and compares the epoch that he knows
 * (`lock_cluster`, 152), and a change of its leader counts the epoch up in the same statement (`guard_leaders`, 150).
 * Two leaders act on what they know, each of which may be paused between looking and writing for as long as you like;
 * a third party replaces a leader that it believes to be dead, as often as FAILOVERS says.
 *
 * What is claimed of it: whoever writes does so under the epoch that is there, so that after a write of a newer epoch
 * none of an older one comes (`newest`); each epoch has one leader; epochs have no gaps.
 * Mutants: NO_COMPARE (a writer is not asked for its epoch), NO_LOCK (it is compared, and written in another
 * transaction), SAME_EPOCH (a new leader under the epoch of the one before).
 */
#ifndef FAILOVERS
#define FAILOVERS 3
#endif
#define NOBODY 9

byte epoch, leader = 0;
byte led_by[8] = NOBODY;   /* not in the database: who led in which epoch */
byte newest, failovers = FAILOVERS;
byte writes = 4;

/* assess or promote_to_primary, under the row's lock. */
proctype Watcher() {
  byte known;
  do
  :: failovers == 0 -> break
  :: failovers > 0 ->
     known = epoch;
     atomic {
       if
       :: known == epoch && failovers > 0 ->
          failovers--; leader = 1 - leader;
#ifndef SAME_EPOCH
          epoch++;
#endif
          assert(led_by[epoch] == NOBODY || led_by[epoch] == leader);
          assert(epoch == 0 || led_by[epoch - 1] != NOBODY);
          led_by[epoch] = leader
       :: else      /* PF009: somebody else was quicker */
       fi
     }
  od
}

inline write() {
  if :: writes > 0 -> writes-- :: else fi;
  assert(known >= newest);          /* an old epoch writes nothing after a newer one */
  assert(known == epoch);           /* and nothing once there is a newer one */
  assert(led_by[known] == me);
  newest = known
}

/* A leader, or who believes to be one. It may be killed, which is to look again. */
proctype Leader(byte me) {
  byte known;
  bool leads, allowed;
  do
  :: writes == 0 -> break
  :: writes > 0 ->
     atomic { known = epoch; leads = leader == me }
     do
     :: leads && writes > 0 ->
        /* Here it may sleep. */
        atomic {
#ifdef NO_COMPARE
          allowed = true;
#else
          allowed = known == epoch;
#endif
#ifndef NO_LOCK
          if :: allowed -> write() :: else fi
#endif
        }
#ifdef NO_LOCK
        atomic { if :: allowed -> write() :: else fi }
#endif
        if :: !allowed -> break :: allowed fi
     :: !leads || writes == 0 -> break
     :: true -> break
     od
  od
}

init {
  atomic { led_by[0] = 0; run Watcher(); run Watcher(); run Leader(0); run Leader(1) }
}
