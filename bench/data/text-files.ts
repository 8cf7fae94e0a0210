/** Files that compression makes smaller: logs and tables, as they lie in every company's libraries. */

import { OWNER, makeSource } from './source.js'
import { Seeded } from './seeded.js'
import type { Source } from './source.js'

const FILE_BYTES = 8 * 1024 * 1024
/** At scale 1: 64 MB. */
const FILES = 8

export function textFiles(dir: string, scale: number): Promise<Source> {
  const seeded = new Seeded('text files')
  const files = Math.max(1, Math.round(FILES * scale))
  return makeSource(dir, seeded, async writer => {
    const repo = await writer.createLibrary({ name: 'Logs', owner: OWNER })
    for (let n = 0; n < files; n++) {
      await writer.commit(repo, [{ op: 'put', path: `/2026/${n}.log`, content: logLines(seeded, FILE_BYTES) }])
    }
    return [repo]
  })
}

/** Lines of a web server: each another, of the same few words. */
export function logLines(seeded: Seeded, bytes: number): Buffer {
  const lines: string[] = []
  for (let length = 0; length < bytes;) {
    const [address, size, page] = [seeded.below(65_536), seeded.below(100_000), seeded.below(5_000)]
    const line = `10.1.${address >> 8}.${address & 255} - - [20/Nov/2026:14:03:10 +0100] "GET /library/${page}/ HTTP/1.1" 200 ${size}\n`
    length += line.length
    lines.push(line)
  }
  return Buffer.from(lines.join('')).subarray(0, bytes)
}
