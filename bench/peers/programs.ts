/** Peers that are one program run from directory to directory. */

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { runProgram } from '../programs.js'
import type { Peer, PeerCopy } from './peer.js'

/** Wants one, and makes nothing safer here. */
const PASSWORD = 'bench'

const withoutDaemon = (run: () => Promise<void>): PeerCopy => ({
  daemons: [],
  run,
  async [Symbol.asyncDispose]() {},
})

export const cp: Peer = {
  name: 'cp -a',
  programs: ['cp'],
  again: false,
  async open(source, dir) {
    return withoutDaemon(() => runProgram('cp', ['-a', `${source}/.`, join(dir, 'copy')]))
  },
}

export const rclone: Peer = {
  name: 'rclone copy',
  programs: ['rclone'],
  again: true,
  async open(source, dir) {
    const args = ['copy', '--config', '/dev/null', '--links', source, join(dir, 'copy')]
    return withoutDaemon(() => runProgram('rclone', args))
  },
}

export const restic: Peer = {
  name: 'restic backup',
  programs: ['restic'],
  again: true,
  async open(source, dir) {
    const env = { ...process.env, RESTIC_PASSWORD: PASSWORD, RESTIC_CACHE_DIR: join(dir, 'cache') }
    const repository = ['--quiet', '--repo', join(dir, 'repository')]
    await runProgram('restic', [...repository, 'init'], { env })
    return withoutDaemon(() => runProgram('restic', [...repository, 'backup', '.'], { env, cwd: source }))
  },
}

export const borg: Peer = {
  name: 'borg create',
  programs: ['borg'],
  again: true,
  async open(source, dir) {
    const base = join(dir, 'base')
    await mkdir(base)
    const env = {
      ...process.env,
      BORG_BASE_DIR: base,
      BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes',
      BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes',
    }
    const repository = join(dir, 'repository')
    await runProgram('borg', ['init', '--encryption', 'none', repository], { env })
    let archives = 0
    return withoutDaemon(() =>
      runProgram('borg', ['create', `${repository}::${++archives}`, '.'], { env, cwd: source }),
    )
  },
}
