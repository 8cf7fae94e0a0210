/**
 * What a backup lacks of one library, as a stream of frames.
 *
 * First the commits, newest first, so that the backup can judge the move before
 * anything large travels. Then the trees: the head's first, because the latest
 * state is what people need, then the kept history from the oldest on. Parents
 * always come before children and no object twice. What stands at the same path
 * of the tree that the backup already holds (`base`) is left out. Objects are
 * passed on as they lie on the disk; what is damaged or gone is said, not hidden.
 */

import { EMPTY_ID } from '../../shared/ids.js'
import { IdSet } from '../../shared/seafile/id-set.js'
import { newBlocks, newEntries } from '../../shared/seafile/tree-diff.js'
import { FRAME } from '../../shared/wire/frames.js'
import { INLINE_BLOCK_BYTES_MAX } from '../../shared/wire/sync-messages.js'
import { newCommits } from './new-commits.js'
import type { CommitId, RepoId } from '../../shared/ids.js'
import type { DiskObjectReader, FailedRead } from '../../shared/store/disk-object-store.js'
import type { FsObject } from '../../shared/seafile/objects.js'
import type { ObjectKind, ReadObject } from '../../shared/store/object-store.js'
import type { WantedObject } from '../../shared/wire/sync-messages.js'
import type { FrameType } from '../../shared/wire/frames.js'
import type { FrameWriter } from './frame-writer.js'
import type { NewCommit } from './new-commits.js'

export interface DeltaJob {
  readonly repo: RepoId
  /** Where fs objects and blocks lie: the origin's id for a virtual library. */
  readonly storeId: RepoId
  readonly want: CommitId
  readonly base: CommitId | null
  readonly truncateTime: number
  /** Truncate time under which the backup pulled what `base` reaches. */
  readonly haveSince: number
  /** No trees: the backup looks first what it has of them. */
  readonly commitsAlone: boolean
}

/** Aborting is the caller's: `out` rejects once nobody listens. */
export async function streamDelta(job: DeltaJob, objects: DiskObjectReader, out: FrameWriter): Promise<void> {
  const commits = await newCommits({
    want: job.want,
    have: job.base,
    truncateTime: job.truncateTime,
    haveSince: job.haveSince,
    read: id => objects.read({ kind: 'commits', storeId: job.repo, id }),
    emit: (id, read, kept) => writeRead(out, FRAME.commit, { kind: 'commits', id }, read, kept),
    alive: () => out.alive(),
  })
  await out.empty(FRAME.trees)
  if (job.commitsAlone) return
  const base = job.base && objects.read({ kind: 'commits', storeId: job.repo, id: job.base })
  const baseRoot = base?.state === 'whole' && base.object.is === 'commit' ? base.object.commit.rootId : null
  const trees = new TreeStream(job.storeId, objects, out)
  for (const { id, rootId } of headThenOldest(commits)) {
    await out.tree(id)
    await trees.write(rootId, baseRoot)
  }
}

/** `commits` are newest first: the head, then the others from the oldest on. Only those whose tree is owed. */
function headThenOldest(commits: readonly NewCommit[]): { id: CommitId; rootId: string }[] {
  const owed = commits.flatMap(c => (c.kept && c.rootId !== null ? [{ id: c.id, rootId: c.rootId }] : []))
  const [head, ...older] = owed
  return head ? [head, ...older.reverse()] : []
}

interface Pending {
  readonly id: string
  readonly base: string | null
}

/** Writes trees, each object once over all of them. */
class TreeStream {
  readonly #sent = new IdSet()
  /** Base directories and files, which siblings and later commits ask for again. */
  readonly #bases = new Map<string, FsObject | undefined>()

  constructor(
    private readonly storeId: RepoId,
    private readonly objects: DiskObjectReader,
    private readonly out: FrameWriter,
  ) {}

  async write(root: string, baseRoot: string | null): Promise<void> {
    if (root === EMPTY_ID || root === baseRoot || !this.#sent.add(root)) return
    const dirs: Pending[] = [{ id: root, base: baseRoot === EMPTY_ID ? null : baseRoot }]
    for (let dir = dirs.pop(); dir; dir = dirs.pop()) {
      const pending = this.out.alive()
      if (pending) await pending
      const fs = await this.#writeFs(dir.id)
      if (fs?.type !== 'dir') continue
      const below: Pending[] = []
      for (const entry of newEntries(fs, this.#base(dir.base))) {
        if (!this.#sent.add(entry.id)) continue
        if (entry.kind === 'dir') below.push(entry)
        else await this.#writeFile(entry)
      }
      for (let i = below.length - 1; i >= 0; i--) dirs.push(below[i] as Pending)
    }
  }

  async #writeFile(file: Pending): Promise<void> {
    const fs = await this.#writeFs(file.id)
    if (fs?.type !== 'file') return
    for (const block of newBlocks(fs, this.#base(file.base))) {
      if (!this.#sent.add(block)) continue
      const place = { storeId: this.storeId, id: block }
      const named = (size: number) => this.out.blockRef(block, size)
      const pending = writeBlock(this.out, this.objects, place, INLINE_BLOCK_BYTES_MAX, named)
      if (pending) await pending
    }
  }

  async #writeFs(id: string): Promise<FsObject | undefined> {
    const read = this.objects.read({ kind: 'fs', storeId: this.storeId, id })
    const pending = writeRead(this.out, FRAME.fs, { kind: 'fs', id }, read, true)
    if (pending) await pending
    return read.state === 'whole' && read.object.is === 'fs' ? read.object.fs : undefined
  }

  /** Undefined when there is none or it cannot be read here: then all is new, and the backup drops what it has. */
  #base(id: string | null): FsObject | undefined {
    if (id === null) return undefined
    if (this.#bases.has(id)) return this.#bases.get(id)
    const read = this.objects.read({ kind: 'fs', storeId: this.storeId, id })
    const fs = read.state === 'whole' && read.object.is === 'fs' ? read.object.fs : undefined
    if (this.#bases.size >= BASES_MAX) this.#bases.clear()
    this.#bases.set(id, fs)
    return fs
  }
}

/** Directories along the changed paths: some dozens in practice. */
const BASES_MAX = 1_000

/** `mustExist` false: an object whose absence is nobody's loss (a commit outside the kept history) is left out in silence. */
function writeRead(
  out: FrameWriter,
  type: FrameType,
  { kind, id }: WantedObject,
  read: ReadObject,
  mustExist: boolean,
): void | Promise<void> {
  switch (read.state) {
    case 'whole':
      return out.object(type, id, read.object.bytes)
    case 'missing':
      return mustExist ? out.notThere({ kind, id, problem: 'missing', reason: 'is missing' }) : undefined
    case 'corrupt':
    case 'unreadable':
      return mustExist ? out.notThere({ kind, id, problem: read.state, reason: read.why }) : undefined
  }
}

interface BlockPlace {
  readonly storeId: string
  readonly id: string
}

/**
 * Blocks are not verified here: the backup does it anyway, and this side's CPU belongs to the live server. `large`: what
 * becomes of one of more than `bytesMax`.
 */
function writeBlock(
  out: FrameWriter,
  objects: DiskObjectReader,
  { storeId, id }: BlockPlace,
  bytesMax: number,
  large: (size: number) => void | Promise<void>,
): void | Promise<void> {
  const raw = objects.readRaw({ kind: 'blocks', storeId, id }, bytesMax)
  switch (raw.state) {
    case 'read':
      return out.object(FRAME.block, id, raw.bytes)
    case 'large':
      return large(raw.size)
    case 'missing':
    case 'unreadable':
      return writeNoBlock(out, id, raw)
  }
}

function writeNoBlock(out: FrameWriter, id: string, read: FailedRead): void | Promise<void> {
  const reason = read.state === 'missing' ? 'is missing' : read.why
  return out.notThere({ kind: 'blocks', id, problem: read.state, reason })
}

/** Broke off in the middle of their frame: the next time they are read whole before anything is sent, and the reason is said. */
const brokenOff = new Set<string>()
const BROKEN_OFF_MAX = 10_000
const keyOf = ({ storeId, id }: BlockPlace): string => `${storeId}/${id}`

/** A block that was asked for by name, of any size. */
function writeWantedBlock(out: FrameWriter, objects: DiskObjectReader, place: BlockPlace): void | Promise<void> {
  const bytesMax = brokenOff.has(keyOf(place)) ? Infinity : INLINE_BLOCK_BYTES_MAX
  return writeBlock(out, objects, place, bytesMax, () => writeInParts(out, objects, place))
}

async function writeInParts(out: FrameWriter, objects: DiskObjectReader, place: BlockPlace): Promise<void> {
  const opened = objects.open({ kind: 'blocks', ...place })
  if (opened.state !== 'open') return await writeNoBlock(out, place.id, opened)
  using file = opened
  await out.blockInParts(place.id, file.size, target => {
    try {
      const got = file.read(target)
      if (got > 0) return got
    } catch {
      // what the disk says is read again, and said, when the block is asked for again
    }
    if (brokenOff.size < BROKEN_OFF_MAX) brokenOff.add(keyOf(place))
    return 0
  })
}

export interface ObjectsJob {
  readonly repo: RepoId
  readonly storeId: RepoId
  readonly objects: readonly WantedObject[]
}

/** Single objects, in the order asked for: large blocks, and whatever a delta did not bring. */
export async function streamObjects(job: ObjectsJob, objects: DiskObjectReader, out: FrameWriter): Promise<void> {
  for (const wanted of job.objects) {
    const pending = out.alive()
    if (pending) await pending
    await writeWanted(job, wanted, objects, out)
  }
}

const FRAME_OF: Record<Exclude<ObjectKind, 'blocks'>, FrameType> = { commits: FRAME.commit, fs: FRAME.fs }

function writeWanted(
  job: ObjectsJob,
  { kind, id }: WantedObject,
  objects: DiskObjectReader,
  out: FrameWriter,
): void | Promise<void> {
  if (kind === 'blocks') return writeWantedBlock(out, objects, { storeId: job.storeId, id })
  const storeId = kind === 'commits' ? job.repo : job.storeId
  return writeRead(out, FRAME_OF[kind], { kind, id }, objects.read({ kind, storeId, id }), true)
}
