/** S2: 2 GB in blocks of 8 MB, as a server of videos or disk images has them. */

import { Seeded } from './seeded.js'
import { OWNER, makeSource } from './source.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Source } from './source.js'

const LIBRARIES = 4
const BLOCK_BYTES = 8 * 1024 * 1024
/** Of one library at scale 1: 512 MB. */
const BLOCKS = 64
const BLOCKS_PER_FILE = 16

export function largeBlocks(dir: string, scale: number): Promise<Source> {
  const seeded = new Seeded('large blocks')
  const blocks = Math.max(1, Math.round(BLOCKS * scale))
  return makeSource(dir, seeded, async writer => {
    const repos: RepoId[] = []
    for (let n = 0; n < LIBRARIES; n++) {
      const repo = await writer.createLibrary({ name: `Videos ${n}`, owner: OWNER })
      for (let at = 0; at < blocks; at += BLOCKS_PER_FILE) {
        const content = blocksOf(seeded, Math.min(BLOCKS_PER_FILE, blocks - at))
        await writer.commit(repo, [{ op: 'put', path: `/Videos/video ${at}.mp4`, content }])
      }
      repos.push(repo)
    }
    return repos
  })
}

async function* blocksOf(seeded: Seeded, count: number): AsyncGenerator<Buffer> {
  for (let n = 0; n < count; n++) yield seeded.bytes(BLOCK_BYTES)
}
