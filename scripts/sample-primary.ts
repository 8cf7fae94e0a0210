/**
 * A small Seafile installation to try things on: conf/, seafile-data/ and a seafile.db with five libraries.
 *
 * The same seed and time give the same libraries, ids included. Nothing here is
 * a server: the files are what one would have left behind, written by
 * `LibraryWriter`.
 */

import { createCipheriv, hash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openCatalog } from '../src/shared/catalog/open-catalog.js'
import { silentLog } from '../src/shared/log.js'
import { LibraryWriter } from '../src/shared/seafile/library-writer.js'
import type { CatalogWriter } from '../src/shared/catalog/catalog.js'
import type { RepoId } from '../src/shared/ids.js'
import type { Change } from '../src/shared/seafile/library-writer.js'

export type SampleKind = 'documents' | 'photos' | 'encrypted' | 'origin' | 'virtual'

export interface SampleLibrary {
  readonly id: RepoId
  readonly name: string
  readonly kind: SampleKind
}

export interface SamplePrimary extends AsyncDisposable {
  readonly dir: string
  readonly confDir: string
  /** seafile-data. */
  readonly dataDir: string
  /** Commits at the real time from here on. */
  readonly writer: LibraryWriter
  /** Closed when the sample is disposed; the files stay. */
  readonly catalog: CatalogWriter
  readonly libraries: readonly SampleLibrary[]
}

export interface SampleOptions {
  readonly seed?: string
  /** When the newest commit was made, in milliseconds since 1970; default: now. */
  readonly now?: number
}

/** Of the encrypted library; no secret, for there is nothing in it. */
export const SAMPLE_PASSWORD = 'sample-password'

const OWNER = 'ada@example.com'
const COLLEAGUE = 'grace@example.com'
const MIB = 1024 * 1024
const DAY_MS = 86_400_000
const HISTORY_DAYS = 30
const SEAFILE_CONF = `[database]
type = sqlite

[fileserver]
host = 127.0.0.1
port = 8082
`

/** Writes into `dir`, which must be empty or absent. */
export async function makeSamplePrimary(dir: string, options: SampleOptions = {}): Promise<SamplePrimary> {
  const confDir = join(dir, 'conf')
  const dataDir = join(dir, 'seafile-data')
  for (const path of [confDir, ...['storage', 'tmpfiles', 'httptemp'].map(name => join(dataDir, name))]) {
    await mkdir(path, { recursive: true })
  }
  await writeFile(join(confDir, 'seafile.conf'), SEAFILE_CONF, { mode: 0o600 })
  const catalog = await openCatalog({ type: 'sqlite', path: join(dataDir, 'seafile.db') }, silentLog, { create: true })
  try {
    const clock = new SampleClock(options.now ?? Date.now())
    const random = seededBytes(options.seed ?? 'seaf-backup')
    const writer = new LibraryWriter({ dataDir, catalog, now: () => clock.now(), random })
    const libraries = await plant({ writer, clock, random })
    clock.release()
    return {
      dir,
      confDir,
      dataDir,
      writer,
      catalog,
      libraries,
      [Symbol.asyncDispose]: () => catalog[Symbol.asyncDispose](),
    }
  } catch (error) {
    await catalog[Symbol.asyncDispose]()
    throw error
  }
}

/** Stands still at a time in the past until it is released. */
class SampleClock {
  readonly #end: number
  #at: number | undefined

  constructor(end: number) {
    this.#end = end
  }

  now(): number {
    return this.#at ?? Date.now()
  }

  daysBeforeEnd(days: number): void {
    this.#at = this.#end - Math.round(days * DAY_MS)
  }

  release(): void {
    this.#at = undefined
  }
}

interface Gardener {
  readonly writer: LibraryWriter
  readonly clock: SampleClock
  readonly random: (size: number) => Buffer
}

async function plant(gardener: Gardener): Promise<SampleLibrary[]> {
  const documents = await plantDocuments(gardener)
  const photos = await plantPhotos(gardener)
  const encrypted = await plantEncrypted(gardener)
  return [documents, photos, encrypted, ...(await plantOriginAndVirtual(gardener))]
}

/** Thirty commits over two months, in folders of every script. */
async function plantDocuments({ writer, clock, random }: Gardener): Promise<SampleLibrary> {
  clock.daysBeforeEnd(60)
  const name = 'Documents'
  const id = await writer.createLibrary({ name, owner: OWNER, desc: 'Letters, notes and reports' })
  const folders = ['/Briefe', '/Отчёты/2026', '/文档/项目', '/notes/née/deep/deeper', '/emoji 😀']
  const steps: Change[][] = [
    folders.map(path => ({ op: 'mkdir', path })),
    [{ op: 'put', path: '/empty.txt', content: Buffer.alloc(0) }],
    [{ op: 'put', path: '/readme.md', content: text(random, 20) }],
  ]
  for (let n = 0; n < 20; n++) {
    const path = `${folders[n % folders.length]}/report ${1 + Math.floor(n / 2)}.txt`
    steps.push([{ op: 'put', path, content: text(random, 40 + 10 * n) }])
  }
  steps.push(
    [{ op: 'rename', from: '/emoji 😀', to: '/emoji 😎' }],
    [{ op: 'rename', from: '/readme.md', to: '/Briefe/readme.md' }],
    [{ op: 'remove', path: '/Отчёты/2026/report 1.txt' }],
    [{ op: 'mkdir', path: '/empty folder' }],
    [{ op: 'remove', path: '/notes/née/deep' }],
    [{ op: 'put', path: '/Briefe/readme.md', content: text(random, 25) }],
  )
  for (const [n, changes] of steps.entries()) {
    clock.daysBeforeEnd(59 - 2 * n)
    await writer.commit(id, changes, { creatorName: n % 3 === 0 ? COLLEAGUE : OWNER })
  }
  return { id, name, kind: 'documents' }
}

/** Files of one and of several blocks. */
async function plantPhotos({ writer, clock, random }: Gardener): Promise<SampleLibrary> {
  clock.daysBeforeEnd(10)
  const name = 'Photos'
  const id = await writer.createLibrary({ name, owner: OWNER })
  const sizes = { '/2025/sea.jpg': 3 * MIB, '/2025/hills.jpg': 2.5 * MIB, '/2026/panorama.tif': 17 * MIB + 123 }
  let day = 9
  for (const [path, size] of Object.entries(sizes)) {
    clock.daysBeforeEnd(day--)
    await writer.commit(id, [{ op: 'put', path, content: random(size) }])
  }
  clock.daysBeforeEnd(day--)
  await writer.commit(id, [{ op: 'rename', from: '/2025/sea.jpg', to: '/2025/sea at dawn.jpg' }])
  clock.daysBeforeEnd(day--)
  await writer.commit(id, [{ op: 'remove', path: '/2025/hills.jpg' }])
  return { id, name, kind: 'photos' }
}

async function plantEncrypted({ writer, clock, random }: Gardener): Promise<SampleLibrary> {
  clock.daysBeforeEnd(8)
  const name = 'Private'
  const encrypted = { password: SAMPLE_PASSWORD, version: 4 as const }
  const id = await writer.createLibrary({ name, owner: OWNER, encrypted })
  for (const [n, path] of ['/diary.txt', '/keys/garden.txt', '/scan.bin', '/diary.txt'].entries()) {
    clock.daysBeforeEnd(7 - n)
    const content = path.endsWith('.bin') ? random(MIB) : text(random, 30 + n)
    await writer.commit(id, [{ op: 'put', path, content }])
  }
  return { id, name, kind: 'encrypted' }
}

/** A library with a history limit that some of its commits are older than, and one of its folders as a library. */
async function plantOriginAndVirtual({ writer, clock, random }: Gardener): Promise<SampleLibrary[]> {
  clock.daysBeforeEnd(90)
  const origin = await writer.createLibrary({ name: 'Project', owner: OWNER })
  for (const [n, path] of ['/team/plan.md', '/team/minutes/kick-off.md', '/private/budget.csv'].entries()) {
    clock.daysBeforeEnd(80 - 10 * n)
    await writer.commit(origin, [{ op: 'put', path, content: text(random, 50) }])
  }
  await writer.setHistory(origin, { limitDays: HISTORY_DAYS })
  clock.daysBeforeEnd(20)
  const virtual = await writer.createVirtualLibrary({ origin, path: '/team', name: 'Team folder', desc: 'team' })
  clock.daysBeforeEnd(15)
  await writer.commit(origin, [{ op: 'put', path: '/team/plan.md', content: text(random, 60) }])
  clock.daysBeforeEnd(5)
  await writer.commit(virtual, [{ op: 'put', path: '/minutes/review.md', content: text(random, 45) }])
  clock.daysBeforeEnd(1)
  await writer.commit(origin, [{ op: 'remove', path: '/private/budget.csv' }])
  return [
    { id: origin, name: 'Project', kind: 'origin' },
    { id: virtual, name: 'Team folder', kind: 'virtual' },
  ]
}

const text = (random: (size: number) => Buffer, lines: number): Buffer =>
  Buffer.from(Array.from({ length: lines }, () => `${random(24).toString('base64')}\n`).join(''))

/** The key stream of a cipher: the same for the same seed, and quick enough for photos. */
function seededBytes(seed: string): (size: number) => Buffer {
  const stream = createCipheriv('aes-256-ctr', hash('sha256', seed, 'buffer'), Buffer.alloc(16))
  return size => stream.update(Buffer.alloc(size))
}
