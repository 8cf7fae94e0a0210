/**
 * S1: about 100,000 small objects in 20 libraries with a history, as a server of documents has them.
 *
 * Each file is one block of 1 to 8 KB and its fs object; the first commit of a
 * library brings two thirds of its files, each later one adds some in a few of
 * its folders, so that their directories, and those above, are there in several versions.
 */

import { Seeded } from './seeded.js'
import { OWNER, makeSource } from './source.js'
import type { Change, LibraryWriter } from '../../src/shared/seafile/library-writer.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Source } from './source.js'

const LIBRARIES = 20
/** Of one library at scale 1: two objects each, and one in twenty more for directories and commits. */
const FILES = 2_330
const LATER_COMMITS = 7
const LATER_SHARE = 0.05
const FILES_PER_FOLDER = 20
const FOLDERS_PER_FOLDER = 10
/** Where people work at a time. */
const BUSY_FOLDERS = 30
const BLOCK_BYTES = { min: 1_024, max: 8_192 } as const

export function smallObjects(dir: string, scale: number): Promise<Source> {
  const seeded = new Seeded('small objects')
  const files = Math.max(FILES_PER_FOLDER, Math.round(FILES * scale))
  return makeSource(dir, seeded, async writer => {
    const repos: RepoId[] = []
    for (let n = 0; n < LIBRARIES; n++) repos.push(await fillLibrary(writer, seeded, { name: `Documents ${n}`, files }))
    return repos
  })
}

async function fillLibrary(
  writer: LibraryWriter,
  seeded: Seeded,
  { name, files }: { readonly name: string; readonly files: number },
): Promise<RepoId> {
  const repo = await writer.createLibrary({ name, owner: OWNER })
  const folders = Math.ceil(files / FILES_PER_FOLDER)
  const later = Math.floor(files * LATER_SHARE)
  const first = files - later * LATER_COMMITS
  await writer.commit(
    repo,
    Array.from({ length: first }, (_, n) => smallFile(seeded, n % folders)),
  )
  for (let commit = 0; commit < LATER_COMMITS && later > 0; commit++) {
    const busy = Array.from({ length: BUSY_FOLDERS }, () => seeded.below(folders))
    const changes = Array.from({ length: later }, (_, n) => smallFile(seeded, busy[n % busy.length] ?? 0))
    await writer.commit(repo, changes)
  }
  return repo
}

/** A new file in a folder two levels down. */
export function smallFile(seeded: Seeded, folder: number): Change {
  const above = Math.floor(folder / FOLDERS_PER_FOLDER)
  const name = `document ${seeded.bytes(6).toString('hex')}.odt`
  const size = BLOCK_BYTES.min + seeded.below(BLOCK_BYTES.max - BLOCK_BYTES.min)
  return { op: 'put', path: `/folder ${above}/folder ${folder}/${name}`, content: seeded.bytes(size) }
}
