/** What the disk and the kernel take for files of these sizes under names that are safe: below it nobody comes who keeps them so. */

import { statSync, readdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runProgram } from '../programs.js'
import type { Peer } from './peer.js'

/** As many as this machine has processors, as ours has threads. */
const PROCESSES = 2
const PROGRAM = fileURLToPath(new URL('./write-alone.js', import.meta.url))

export const diskAlone: Peer = {
  name: 'written alone',
  programs: ['sync'],
  again: false,
  async open(source, dir) {
    const lists = Array.from({ length: PROCESSES }, (_, n) => join(dir, `list-${n}`))
    const files = readdirSync(source, { recursive: true, withFileTypes: true }).filter(file => file.isFile())
    const sizes = files.map(({ parentPath, name }) => {
      const path = join(parentPath, name)
      return [relative(source, path), statSync(path).size] as const
    })
    for (const [n, list] of lists.entries())
      writeFileSync(list, JSON.stringify(sizes.filter((_, i) => i % PROCESSES === n)))
    const target = join(dir, 'copy')
    return {
      daemons: [],
      async run() {
        await Promise.all(lists.map(list => runProgram(process.execPath, [PROGRAM, list, target])))
      },
      async [Symbol.asyncDispose]() {},
    }
  },
}
