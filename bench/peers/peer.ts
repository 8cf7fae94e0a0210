/** What ours is measured beside: programs of Debian that make a copy of a directory. */

export interface Peer {
  readonly name: string
  /** All must be installed. */
  readonly programs: readonly string[]
  /** Whether a second run finds out what is new: else it copies everything once more. */
  readonly again: boolean
  /** Prepares a copy of `source` in the fresh directory `dir`; nothing of it is timed. */
  open(source: string, dir: string): Promise<PeerCopy>
}

export interface PeerCopy extends AsyncDisposable {
  /** Processes that are there before a run and after it. */
  readonly daemons: readonly number[]
  /** What the copy lacks is copied; resolves when the program that an administrator would wait for has ended. */
  run(): Promise<void>
}

/** What all of them do without, and ours does in the same time. */
export const PEERS_DO_WITHOUT =
  'No peer fsyncs, none verifies what it copied against a name that was there before, and none keeps rows and objects ' +
  'together; the column "with sync" adds one `sync -f` of the file system. Ours is verified object by object, durable, ' +
  'and in the database when its time ends. "Written alone" is no copy: files of those sizes, made durable and renamed as ' +
  'ours are, by two processes that read, send and verify nothing.'
