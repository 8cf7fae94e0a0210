/**
 * Both sides, object by object: what the backup holds is what the primary has, and it is whole.
 *
 * Looks at the files and databases themselves, not at what the daemons say of them.
 */

import { readFileSync } from 'node:fs'
import { EMPTY_ID } from '../../src/shared/ids.js'
import { newBlocks, newEntries } from '../../src/shared/seafile/tree-diff.js'
import { DiskObjectReader } from '../../src/shared/store/disk-object-store.js'
import { never, openSide } from './watch.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { CatalogReader, LibraryListing } from '../../src/shared/catalog/catalog.js'
import type { ObjectRef } from '../../src/shared/store/object-store.js'
import type { VerifiedObject } from '../../src/shared/store/verify.js'
import type { Side } from './stage.js'

export interface Comparison {
  readonly libraries: number
  /** Objects of the latest states, each verified by its name. */
  readonly objects: number
  readonly bytes: number
  /** One sentence each; none: both sides agree. */
  readonly differences: readonly string[]
}

/** `theirs`: the primary's catalog. A library whose id is in `excused` has been reported as failed and is left out. */
export async function compareSides(
  primary: Side & { readonly catalog: CatalogReader },
  backup: Side,
  excused: ReadonlySet<string>,
): Promise<Comparison> {
  await using ours = await openSide(backup)
  const theirs = (await primary.catalog.listing(never)).filter(({ repo }) => !excused.has(repo))
  const here = new Map((await ours.listing(never)).map(listing => [listing.repo, listing]))
  const seen = new Seen(new DiskObjectReader(primary.dataDir), new DiskObjectReader(backup.dataDir))
  const differences: string[] = []
  for (const listing of theirs) {
    const why = await compareLibrary(listing, here.get(listing.repo), ours, seen)
    if (why !== null) differences.push(`library ${listing.repo}: ${why}`)
  }
  return { libraries: theirs.length, objects: seen.objects, bytes: seen.bytes, differences }
}

async function compareLibrary(
  theirs: LibraryListing,
  ours: LibraryListing | undefined,
  catalog: CatalogReader,
  seen: Seen,
): Promise<string | null> {
  if (theirs.head === null) return null
  if (ours?.head !== theirs.head) return `head ${theirs.head} on the primary, ${ours?.head ?? 'none'} on the backup`
  if (ours.digest !== theirs.digest) return 'its rows differ'
  const read = await catalog.read(theirs.repo, never)
  const storeId = read?.rows.virtual?.originRepo ?? theirs.repo
  try {
    const head = seen.same({ kind: 'commits', storeId: theirs.repo, id: theirs.head })
    if (head?.is === 'commit') seen.tree(storeId, head.commit.rootId)
    return null
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** Each object is looked at once, however many libraries share it. */
class Seen {
  readonly #done = new Set<string>()
  objects = 0
  bytes = 0

  constructor(
    private readonly primary: DiskObjectReader,
    private readonly backup: DiskObjectReader,
  ) {}

  /** Everything below a directory. */
  tree(storeId: RepoId, root: string): void {
    const waiting = root === EMPTY_ID ? [] : [root]
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      const object = this.same({ kind: 'fs', storeId, id })
      if (object?.is !== 'fs') continue
      if (object.fs.type === 'dir') for (const { id } of newEntries(object.fs, undefined)) waiting.push(id)
      else for (const block of newBlocks(object.fs, undefined)) this.same({ kind: 'blocks', storeId, id: block })
    }
  }

  /** The object, whose bytes are the same on both sides; null: looked at before. Throws when they are not. */
  same(ref: ObjectRef): VerifiedObject | null {
    const path = this.backup.path(ref)
    if (this.#done.has(path)) return null
    this.#done.add(path)
    const ours = this.backup.read(ref)
    if (ours.state !== 'whole') throw new Error(`${path} is ${ours.state}`)
    const { bytes } = ours.object
    if (!bytes.equals(readFileSync(this.primary.path(ref)))) throw new Error(`${path} differs from the primary's`)
    this.objects += 1
    this.bytes += bytes.byteLength
    return ours.object
  }
}
