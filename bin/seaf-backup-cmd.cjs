#!/usr/bin/env node
'use strict'

require('./run.cjs')('dist/scripts/seaf-backup-cmd.js')
