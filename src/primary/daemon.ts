/** What seaf-backup-primary is called, says of itself and runs. */

import { readPrimaryConfig } from '../shared/config.js'
import { runDaemon } from '../shared/daemon.js'
import { runPrimary } from './primary.js'

await runDaemon({
  name: 'seaf-backup-primary',
  about: 'tells the backup what changes on this Seafile server, and lets it read; never writes to Seafile',
  run(flags, log, signal) {
    const config = readPrimaryConfig(flags)
    for (const warning of config.warnings) log.warn({ warning }, 'configuration')
    return runPrimary(config, log, signal)
  },
})
