/* What may become of a message, and by whom: one line for each change of its row in the queue (pgmq.q_<queue>).
 *
 * The model (lease.pml) changes a message by these rules only, and spin refutes it where one is broken. The test that
 * records what real workers do to their queue (tests/runtime/replay) reads the same lines and holds each change to them.
 *
 * from, to: NOWHERE    not sent yet
 *           WAITING    in the queue, and nobody's: due now, or at a time
 *           CLAIMED    somebody's until vt, and it is not said that its step has begun
 *           BEGUN      somebody's until vt, and its step has begun (pgfleet.begun in its headers)
 *           GONE       deleted with all that its outcome writes: settled
 *           DEAD       deleted, and written to the dead letters
 * who:      ANYBODY
 *           WORKER     any worker
 *           OWNER      the worker that made the last claim: its (msg_id, read_ct) fits still
 *           STRANGER   any other client of PGMQ, which knows of no leases
 * when:     DUE        only where vt has passed: of a message that is somebody's, its lease has ended
 *           ANY_TIME
 * read_ct:  RAISED     by one, so that no token of before fits any more
 *           KEPT
 */

/*    what             from      to        who       when      read_ct */
RULE( sends,           NOWHERE,  WAITING,  ANYBODY,  ANY_TIME, KEPT )
RULE( claims,          WAITING,  CLAIMED,  WORKER,   DUE,      RAISED )
/* Its owner has died, or was paused for longer than its lease; it runs alone from now on. */
RULE( claims,          CLAIMED,  CLAIMED,  WORKER,   DUE,      RAISED )
/* The same within a step, which counts as a death. */
RULE( claims,          BEGUN,    CLAIMED,  WORKER,   DUE,      RAISED )
RULE( begins,          CLAIMED,  BEGUN,    OWNER,    ANY_TIME, KEPT )
RULE( renews,          CLAIMED,  CLAIMED,  OWNER,    ANY_TIME, KEPT )
RULE( renews,          BEGUN,    BEGUN,    OWNER,    ANY_TIME, KEPT )
/* With its row's change and its follow-ups, in one transaction. A step without effects begins without saying so. */
RULE( settles,         CLAIMED,  GONE,     OWNER,    ANY_TIME, KEPT )
RULE( settles,         BEGUN,    GONE,     OWNER,    ANY_TIME, KEPT )
RULE( buries,          CLAIMED,  DEAD,     OWNER,    ANY_TIME, KEPT )
RULE( buries,          BEGUN,    DEAD,     OWNER,    ANY_TIME, KEPT )
/* At once where a process ends, after a pause where a step has failed. */
RULE( gives_back,      CLAIMED,  WAITING,  OWNER,    ANY_TIME, KEPT )
RULE( gives_back,      BEGUN,    WAITING,  OWNER,    ANY_TIME, KEPT )
/* The answer to the first time was lost, and nobody has claimed it since. */
RULE( gives_back,      WAITING,  WAITING,  OWNER,    ANY_TIME, KEPT )
/* The answer to the claim itself was lost: it is found by its mark. */
RULE( finds,           CLAIMED,  WAITING,  OWNER,    ANY_TIME, KEPT )
/* pgmq.read, pgmq.set_vt, pgmq.delete or archive: they ask for no token, and leave the headers as they are. */
RULE( reads,           WAITING,  WAITING,  STRANGER, DUE,      RAISED )
RULE( reads,           CLAIMED,  CLAIMED,  STRANGER, DUE,      RAISED )
RULE( reads,           BEGUN,    BEGUN,    STRANGER, DUE,      RAISED )
RULE( delays,          WAITING,  WAITING,  STRANGER, ANY_TIME, KEPT )
RULE( delays,          CLAIMED,  CLAIMED,  STRANGER, ANY_TIME, KEPT )
RULE( delays,          BEGUN,    BEGUN,    STRANGER, ANY_TIME, KEPT )
RULE( takes_away,      WAITING,  GONE,     STRANGER, ANY_TIME, KEPT )
RULE( takes_away,      CLAIMED,  GONE,     STRANGER, ANY_TIME, KEPT )
RULE( takes_away,      BEGUN,    GONE,     STRANGER, ANY_TIME, KEPT )
