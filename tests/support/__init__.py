"""What the tests share: builders of captures, rigs that run pcapdj's processes, and waiting for conditions.

`forkserver` starts pcapdj's processes in a hundredth of the time that an interpreter needs; a test whose
subject is the start itself starts an interpreter. The modules named `.._rig` run one or more processes in a
folder and leave nothing behind. `captures` and `frames` build input byte by byte, independently of the code
under test. Nothing here is specific to one test file; what two test files need is here once.

Each wait ends with its condition; its limit only decides when a hang is reported. On a slow or busy machine
PCAPDJ_TEST_TIMEOUT_FACTOR=3 makes all limits three times as long.
"""
