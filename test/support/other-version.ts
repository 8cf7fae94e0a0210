/** A preload for a daemon: it is of another version, whose protocol has the number that the environment names. */

import { registerHooks } from 'node:module'

const KEY = 'SEAF_BACKUP_TEST_PROTOCOL'
const CONSTANT = /export const PROTOCOL_VERSION = \d+/

/** Environment for a daemon that speaks another protocol. */
export const otherProtocol = (version: number): NodeJS.ProcessEnv => ({
  NODE_OPTIONS: `--import=${import.meta.url}`,
  [KEY]: String(version),
})

const version = process.env[KEY]
if (version !== undefined) {
  registerHooks({
    load(url, context, next) {
      const loaded = next(url, context)
      if (!url.endsWith('/wire/sync-messages.js')) return loaded
      const source = String(loaded.source)
      if (!CONSTANT.test(source)) throw new Error('the protocol version is not where it was')
      return { ...loaded, source: source.replace(CONSTANT, `export const PROTOCOL_VERSION = ${version}`) }
    },
  })
}
