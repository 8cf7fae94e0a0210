/** Deletions on MariaDB. The rules are the same: in the long run alone. */

import { deletionSuite } from '../support/deletion-suite.js'

deletionSuite('mysql')
