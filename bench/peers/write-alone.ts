/**
 * `node write-alone.js LIST DIR`: files of the sizes in LIST, each written under another name, renamed when a batch of
 * them is on the disk, and the batch after it made durable. Nothing is read, sent or verified.
 */

import { closeSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { dirname, join } from 'node:path'

/** As in our store: disk-object-batch.ts. */
const BATCH_FILES = 2_000
const BATCH_BYTES = 64 * 1024 * 1024
const WRITE_BYTES = 256 * 1024

const [list = '', dir = ''] = process.argv.slice(2)
const files = JSON.parse(readFileSync(list, 'utf8')) as readonly (readonly [path: string, bytes: number])[]
const content = Buffer.alloc(WRITE_BYTES, 'x')
const temp = join(dir, 'temp')
const made = new Set<string>()

function place(paths: readonly string[]): void {
  spawnSync('sync', ['-f', dir])
  for (const [n, path] of paths.entries()) {
    const target = join(dir, path)
    const parent = dirname(target)
    if (!made.has(parent)) mkdirSync(parent, { recursive: true })
    made.add(parent)
    renameSync(join(temp, `${process.pid}-${n}`), target)
  }
}

mkdirSync(temp, { recursive: true })
let batch: string[] = []
let waiting = 0
for (const [path, bytes] of files) {
  const fd = openSync(join(temp, `${process.pid}-${batch.length}`), 'wx')
  for (let done = 0; done < bytes;) done += writeSync(fd, content, 0, Math.min(WRITE_BYTES, bytes - done))
  closeSync(fd)
  batch.push(path)
  waiting += bytes
  if (batch.length < BATCH_FILES && waiting < BATCH_BYTES) continue
  place(batch)
  batch = []
  waiting = 0
}
place(batch)
spawnSync('sync', ['-f', dir])
