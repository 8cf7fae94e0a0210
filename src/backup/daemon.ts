/** What seaf-backup-server is called, says of itself and runs. */

import { readBackupConfig } from '../shared/config.js'
import { runDaemon } from '../shared/daemon.js'
import { runBackup } from './backup.js'

await runDaemon({
  name: 'seaf-backup-server',
  about: 'keeps a verified, durable copy of every library of a Seafile server',
  run(flags, log, signal) {
    const config = readBackupConfig(flags)
    for (const warning of config.warnings) log.warn({ warning }, 'configuration')
    return runBackup(config, log, signal)
  },
})
