/* The life of messages between workers that crash, hang, and wake up as owners of what is no longer theirs.
 *
 * This is Promela, the language of spin, which tries every order in which the steps below can happen. Read `atomic {}`
 * as a transaction that commits whole, `q` as the rows of the queue, and `if`/`do` with several `::` that could go on
 * as "any of these may happen next". A condition that stands alone as a statement waits until it holds.
 *
 * There are two workers and two messages, each of which may be good, broken (its step raises) or poison (its step ends
 * its process). What may go wrong is in the counts below. The model does not trust a worker's own clock: whether a
 * lease is still held is decided by the fence alone.
 *
 * What is claimed of it:
 *   - a message changes by the lines of rules.h only; so a stale owner changes nothing, as its token fits no more;
 *   - each message's effect on its row happens once at most, and a row moves once, whoever tries;
 *   - the follow-up is there if and only if the move was committed (`Watch`, between any two steps);
 *   - a good message is not buried, unless as many processes ended within its step as the limit says; poison next to it
 *     brings that about once at most, as what was not answered runs alone;
 *   - in the end every message is settled or in the dead letters: none is lost, no lost wake-up does more than delay it,
 *     and what is poison or broken is in the dead letters.
 *
 * -DPLAIN is a kind without effects, which says that a step begins only of what was claimed before and never answered.
 * -DONE_ROW lets both messages be about one row. Each of the mutants below is a mistake that spin has to find
 * (test_model.py): what is claimed above would else be true of anything.
 */
#define M 2
#define W 2
#define LIMIT 2

#ifndef FIRST
#define FIRST GOOD
#endif
#ifndef SECOND
#define SECOND GOOD
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef PAUSES
#define PAUSES 1
#endif
#ifndef BREAKS
#define BREAKS 0
#endif
#ifndef RELEASES
#define RELEASES 0
#endif
#ifndef STRANGERS
#define STRANGERS 0
#endif

mtype = { NOWHERE, WAITING, CLAIMED, BEGUN, GONE, DEAD };
mtype = { sends, claims, begins, renews, settles, buries, gives_back, finds, reads, delays, takes_away };
mtype = { GOOD, BROKEN, POISON };
mtype = { READY, MOVED, FAILED };
/* What a worker has of a message. LET_GO: it was given back while this thread stood still, which does not know. */
mtype = { NOTHING, HELD, SUSPECT, DOOMED, LET_GO, STARTED, WILL_MOVE, WILL_END, WILL_FAIL };

typedef Message {
  mtype at = NOWHERE;
  bool due;
  byte read_ct;
  byte mark;          /* pgfleet.claim: of the claim that has it in hand; 0 for none. read_ct at that claim is unique. */
  bool unanswered;    /* pgfleet.unanswered */
  byte begun;         /* pgfleet.begun: steps begun and not ended */
  byte attempts;      /* pgfleet.attempts */
  mtype nature;
  byte effects;       /* not in the database: how often its move was committed */
  byte deaths         /* not in the database: how often it was claimed from within a step */
};
typedef Row { mtype status = READY; byte version; byte followups };
/* `seen` and `attempts` are what its decision was made of, which is settled once more where an answer is lost. */
typedef Hand { mtype is = NOTHING; byte token; byte seen; byte attempts; byte lost };

Message q[M];
Row rows[M];
Hand hands[4];        /* of worker w and message m */
bool arrived[W];      /* the event that the listener sets */
byte crashes = CRASHES, pauses = PAUSES, breaks = BREAKS, releases = RELEASES, strangers = STRANGERS;

#define hand(w, m) hands[(w) * M + (m)]
#ifdef ONE_ROW
#define row(m) rows[0]
#else
#define row(m) rows[m]
#endif
#define is_final(m) (q[m].at == GONE || q[m].at == DEAD)
#define all_final (is_final(0) && is_final(1))
#define in_queue(m) (q[m].at == WAITING || q[m].at == CLAIMED || q[m].at == BEGUN)
#define fits(w, m) (in_queue(m) && hand(w, m).token != 0 && hand(w, m).token == q[m].read_ct)
#define in_hand(m) (fits(0, m) || fits(1, m))
#define busy(w) (hand(w, 0).is != NOTHING || hand(w, 1).is != NOTHING)

/* A statement that asks for the token. */
#ifdef NO_FENCE
#define owns(w, m) (in_queue(m))
#else
#define owns(w, m) fits(w, m)
#endif

/* Messages about one row are stepped one after the other. */
#ifdef ONE_ROW
#define first_of_row(w, m) (hand(w, 1 - m).is == NOTHING || hand(w, 1 - m).is == SUSPECT || \
  ((hand(w, 1 - m).is == HELD || hand(w, 1 - m).is == LET_GO) && m == 0))
#else
#define first_of_row(w, m) true
#endif
/* What was not answered runs after all else that was claimed with it. */
#define unsuspected(w, m) (hand(w, m).is != NOTHING && hand(w, m).is != SUSPECT)

#define ANYBODY(w, m) true
#define STRANGER(w, m) (w == W)
#define WORKER(w, m) (w < W)
#define OWNER(w, m) (w < W && (fits(w, m) || (q[m].mark != 0 && hand(w, m).lost == q[m].mark)))
#define DUE(m) q[m].due
#define ANY_TIME(m) true
#define RAISED 1
#define KEPT 0
#define applies(what, from) (label == what && q[m].at == from)

/* The only way in which a message changes: `label` is a word of rules.h, and one of its lines must allow it. */
inline change(w, m, label) {
#define RULE(what, from, to, who, when, read_ct_is) || (applies(what, from) && who(w, m) && when(m))
  assert(false
#include "rules.h"
  );
#undef RULE
#define RULE(what, from, to, who, when, read_ct_is) + applies(what, from) * read_ct_is
  q[m].read_ct = (q[m].read_ct
#include "rules.h"
  );
#undef RULE
#define RULE(what, from, to, who, when, read_ct_is) + applies(what, from) * to
  q[m].at = (0
#include "rules.h"
  );
  /* Nothing of what is gone makes a difference any more. */
  if
  :: is_final(m) ->
     q[m].read_ct = 0; q[m].mark = 0; q[m].begun = 0; q[m].due = false; q[m].unanswered = false; q[m].attempts = 0
  :: else
  fi
}

inline drop(w, m) { hand(w, m).is = NOTHING; hand(w, m).token = 0; hand(w, m).seen = 0; hand(w, m).attempts = 0 }

#ifdef WAKE
inline notify(w) {
  if
  :: rings -> arrived[w] = true
#ifndef SURE
  :: true                         /* it is lost: nobody listens just now, or the server's queue is full */
#endif
  :: !rings
  fi
}

/* The trigger `ring` looks before the insert, and the NOTIFY comes with the commit. */
proctype Sender(byte m) {
  bool rings = true;
  if
  :: true
#ifndef SURE
  :: (q[1 - m].at == WAITING && q[1 - m].due) -> rings = false    /* its workers are awake, and look again */
#endif
  fi;
  atomic {
    change(W, m, sends); q[m].due = true;
    notify(0); notify(1)
  }
}
#else
/* A message that is not due yet is as good as one that is not sent yet: it becomes due at any moment. */
inline send(m) { change(W, m, sends) }
#endif

/* Leases of living owners end only so often as a process is paused; all else becomes due in time. */
proctype Time() {
  do
  :: all_final -> break
  :: atomic { in_queue(0) && !q[0].due && (q[0].at == WAITING || !in_hand(0)) -> q[0].due = true }
  :: atomic { in_queue(1) && !q[1].due && (q[1].at == WAITING || !in_hand(1)) -> q[1].due = true }
  :: atomic { pauses > 0 && !q[0].due && in_hand(0) -> pauses--; q[0].due = true }
  :: atomic { pauses > 0 && !q[1].due && in_hand(1) -> pauses--; q[1].due = true }
  od
}

proctype Stranger() {
  byte m;
  do
  :: all_final -> break
  :: strangers == 0 -> break
  :: atomic { strangers > 0 && (in_queue(0) || in_queue(1)) ->
       strangers--;
       if :: in_queue(0) -> m = 0 :: in_queue(1) -> m = 1 fi;
       if
       :: q[m].due -> change(W, m, reads); q[m].due = false
       :: true -> change(W, m, delays); q[m].due = !q[m].due
       :: true -> change(W, m, takes_away)
       fi; m = 0 }
  od
}

inline claim_one(w, m) {
  if
  :: in_queue(m) && q[m].due ->
     found_none = false;
     if :: q[m].at == BEGUN -> q[m].deaths++ :: else fi;
     change(w, m, claims);
     q[m].due = false;
     q[m].unanswered = q[m].unanswered || q[m].mark != 0;
     q[m].mark = q[m].read_ct;
     assert(q[m].begun <= q[m].deaths);    /* what was given back is no death */
     if
     :: loses -> hand(w, m).lost = q[m].mark
     :: else ->
        hand(w, m).token = q[m].read_ct;
        if
        :: q[m].begun >= LIMIT -> hand(w, m).is = DOOMED
#ifndef NOT_ALONE
        :: q[m].begun < LIMIT && (q[m].begun > 0 || q[m].unanswered) -> hand(w, m).is = SUSPECT
#endif
        :: else -> hand(w, m).is = HELD
        fi
     fi
  :: else
  fi
}

/* A claim takes all that is due, and is committed; its answer may be lost. */
inline claim_all(w) {
  atomic {
    loses = false;
    if :: true :: breaks > 0 && (q[0].due && in_queue(0) || q[1].due && in_queue(1)) -> breaks--; loses = true fi;
    found_none = true;
    claim_one(w, 0); claim_one(w, 1);
    loses = false
  }
}

/* give_back_claim: by the mark, and only while the lease lasts. */
inline find_one(w, m) {
  if
#ifdef NO_MARK
  :: hand(w, m).lost != 0 && in_queue(m) && q[m].mark != 0 && !q[m].due ->
#else
  :: hand(w, m).lost != 0 && in_queue(m) && q[m].mark == hand(w, m).lost && !q[m].due ->
#endif
     change(w, m, finds); q[m].due = true; q[m].mark = 0
  :: else
  fi;
  hand(w, m).lost = 0
}

/* The row is loaded, and the step decides; only poison does not come so far. */
inline decide(w, m) {
  hand(w, m).seen = row(m).version; hand(w, m).attempts = q[m].attempts;
  if
  :: q[m].nature == POISON -> hand(w, m).is = STARTED
  :: q[m].nature == BROKEN -> hand(w, m).is = WILL_FAIL
  :: q[m].nature == GOOD && row(m).status == READY -> hand(w, m).is = WILL_MOVE
  :: q[m].nature == GOOD && row(m).status != READY -> hand(w, m).is = WILL_END
  fi
}

#ifdef BEGIN_UNASKED
#define BEGINS_LET_GO true
#else
#define BEGINS_LET_GO false
#endif

inline say_begun(w, m) { change(w, m, begins); q[m].begun++; q[m].unanswered = false }

/* Its step begins; one whose lease was let go meanwhile is left alone. */
inline begin_one(w, m) {
  if
  :: hand(w, m).is == LET_GO && !BEGINS_LET_GO -> drop(w, m)
  :: else ->
     if
     :: !owns(w, m) -> drop(w, m)
     :: else ->
#ifdef PLAIN
        if :: hand(w, m).is == SUSPECT -> say_begun(w, m) :: else fi;
#else
        say_begun(w, m);
#endif
        decide(w, m)
     fi
  fi
}

/* The headers that it goes on with: only what was begun and not ended before this time counts. */
inline put_back(w, m) {
  if
  :: q[m].at == BEGUN -> q[m].begun--; q[m].mark = 0
  :: q[m].at != BEGUN && !q[m].unanswered -> q[m].mark = 0
  :: else                                  /* it has not been looked at since: its mark stays */
  fi;
  q[m].unanswered = false;
  change(w, m, gives_back)
}

/* Sure of its commit, a worker forgets a message; where the connection breaks, it settles once more. */
inline done_with(w, m) {
  if
  :: drop(w, m)
  :: breaks > 0 -> breaks--
  fi
}

#ifdef NO_ROW_GUARD
#define as_loaded(w, m) true
#else
#define as_loaded(w, m) (hand(w, m).seen == row(m).version)
#endif

/* Delete by token, guarded move, follow-up: one transaction. */
inline settle_move(w, m) {
  atomic {
    if
    :: !owns(w, m) -> drop(w, m)                        /* lost: rolled back */
    :: else ->
       if
       :: !as_loaded(w, m) -> decide(w, m)   /* stale: rolled back, and stepped again */
       :: else ->
          change(w, m, settles);
          row(m).status = MOVED; row(m).version++; q[m].effects++;
#ifdef FOLLOW_UP_APART
          hand(w, m).is = NOTHING; hand(w, m).token = 0; to_tell = true
#else
          row(m).followups++;
          done_with(w, m)
#endif
       fi
    fi
  }
#ifdef FOLLOW_UP_APART
  if :: to_tell -> to_tell = false; row(m).followups++ :: else fi
#endif
}

inline settle_end(w, m) {
  atomic { if :: !owns(w, m) -> drop(w, m) :: else -> change(w, m, settles); done_with(w, m) fi }
}

inline bury(w, m) {
  if
  :: !as_loaded(w, m) && hand(w, m).is != DOOMED -> decide(w, m)
  :: else ->
     assert(q[m].nature != GOOD || q[m].deaths >= LIMIT);
     change(w, m, buries);
     if :: row(m).status == READY -> row(m).status = FAILED; row(m).version++ :: else fi;
     done_with(w, m)
  fi
}

/* A failed step: put back after a pause, or at the limit a dead letter. */
inline settle_fail(w, m) {
  atomic {
    if
    :: !owns(w, m) -> drop(w, m)
    :: owns(w, m) && hand(w, m).attempts + 1 < LIMIT ->
       put_back(w, m); q[m].attempts = hand(w, m).attempts + 1; q[m].due = false; done_with(w, m)
    :: else -> bury(w, m)
    fi
  }
}

#define is_due(m) (in_queue(m) && q[m].due)
#define lost(w) (hand(w, 0).lost != 0 || hand(w, 1).lost != 0)
#define held(w, m) ((hand(w, m).is == HELD || hand(w, m).is == LET_GO) && first_of_row(w, m))
#define alone(w, m) (hand(w, m).is == SUSPECT && !unsuspected(w, 1 - m))
#define unstarted(w, m) (hand(w, m).is == HELD || hand(w, m).is == SUSPECT || hand(w, m).is == STARTED)

/* A renewal that was asked for before its message was put back finds no mark. */
#ifdef RENEWS_LATE
#define renewable(m) true
#else
#define renewable(m) (q[m].at != WAITING)
#endif

/* What a worker does with one message that it has in hand. */
#define WORK(w, m) \
  :: alone(w, m) -> atomic { begin_one(w, m) } \
  /* Poison ends the process while its neighbours are in their steps, but none of which it could have been before. */ \
  :: atomic { hand(w, m).is == STARTED -> \
       assert(!fits(w, 1 - m) || q[1 - m].at != BEGUN || q[1 - m].deaths == 0); goto boot } \
  :: hand(w, m).is == WILL_MOVE -> settle_move(w, m) \
  :: hand(w, m).is == WILL_END -> settle_end(w, m) \
  :: hand(w, m).is == WILL_FAIL -> settle_fail(w, m) \
  :: hand(w, m).is == DOOMED -> atomic { if :: !owns(w, m) -> drop(w, m) :: else -> bury(w, m) fi } \
  /* The keeper. */ \
  :: atomic { q[m].due && renewable(m) && hand(w, m).is != NOTHING && fits(w, m) -> \
       change(w, m, renews); q[m].due = false } \
  /* Given back as the process ends; or as nothing went on, and its thread goes on later all the same. */ \
  :: atomic { releases > 0 && unstarted(w, m) && fits(w, m) -> \
       releases--; put_back(w, m); q[m].due = true; drop(w, m) } \
  :: atomic { releases > 0 && hand(w, m).is == HELD && fits(w, m) -> \
       releases--; put_back(w, m); q[m].due = true; hand(w, m).is = LET_GO }

proctype Worker(byte w) {
  bool found_none, loses, to_tell;
boot:
  /* Whatever a process had in hand, a new one knows nothing of it. */
  atomic {
    drop(w, 0); drop(w, 1); hand(w, 0).lost = 0; hand(w, 1).lost = 0;
    found_none = false; loses = false; to_tell = false;
    arrived[w] = true     /* something may have been sent while nobody listened */
  }
  do
  :: all_final -> break
  :: atomic { crashes > 0 && busy(w) -> crashes--; goto boot }
  :: held(w, 0) || held(w, 1) ->
     atomic {
       if :: held(w, 0) -> begin_one(w, 0) :: else fi;
       if :: held(w, 1) -> begin_one(w, 1) :: else fi
     }
  WORK(w, 0)
  WORK(w, 1)
#ifdef WAKE
  :: !busy(w) ->
#ifdef CLEARS_LATE
     claim_all(w);
     arrived[w] = false;
#else
     arrived[w] = false;
     claim_all(w);
#endif
     if
     :: !found_none
     :: found_none && arrived[w]
#ifndef NO_POLL
     :: found_none            /* the safety poll */
#endif
     :: all_final
     fi;
     found_none = false
#else
  :: atomic { !busy(w) && (is_due(0) || is_due(1) || lost(w)) -> find_one(w, 0); find_one(w, 1); claim_all(w); found_none = false }
#endif
  od
}

#define told(m) (rows[m].followups == (rows[m].status == MOVED))
#define once(m) (q[m].effects <= 1)
#define kept(m) (q[m].at != DEAD || q[m].nature != GOOD || q[m].deaths >= LIMIT)

/* What holds between any two steps of anybody. */
proctype Watch() {
  do
  :: all_final -> break
  :: !told(0) || !told(1) -> assert(false)    /* a follow-up without its move, or a move without its follow-up */
  :: !once(0) || !once(1) -> assert(false)    /* an effect twice */
  od;
  /* Strangers may take anything away; else what is gone has moved its row, or found it moved. */
  assert(strangers < STRANGERS || q[0].nature == GOOD || q[0].at == DEAD);
  assert(strangers < STRANGERS || q[1].nature == GOOD || q[1].at == DEAD);
  assert(strangers < STRANGERS || q[0].at == DEAD || row(0).status != READY);
  assert(strangers < STRANGERS || q[1].at == DEAD || row(1).status != READY);
  assert(told(0) && told(1))
}

init {
  atomic {
    q[0].nature = FIRST; q[1].nature = SECOND;
#ifdef WAKE
    run Sender(0); run Sender(1);
#else
    send(0); send(1);
#endif
    run Time(); run Stranger(); run Watch(); run Worker(0); run Worker(1)
  }
}

/* None is lost, and none waits for ever. */
ltl ends { <> all_final }
