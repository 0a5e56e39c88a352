# fish completion of pcapdj, written by 'pcapdj completion fish'
complete -c pcapdj -n __fish_use_subcommand -f -a run -d 'feed files into an analyzer, show progress and a summary'
complete -c pcapdj -n __fish_use_subcommand -f -a cat -d 'write the files as one capture to stdout'
complete -c pcapdj -n __fish_use_subcommand -f -a sample -d 'write sample captures to try pcapdj with'
complete -c pcapdj -n __fish_use_subcommand -f -a check -d 'show what this machine has, and what is wrong'
complete -c pcapdj -n __fish_use_subcommand -f -a completion -d 'write the completion script for bash, zsh or fish'
complete -c pcapdj -n __fish_use_subcommand -f -a init -d 'create a folder for the service, ready for supervisord'
complete -c pcapdj -n __fish_use_subcommand -f -a up -d 'start the service of this folder, or roles of it'
complete -c pcapdj -n __fish_use_subcommand -f -a down -d 'end the service, or stop roles of it'
complete -c pcapdj -n __fish_use_subcommand -f -a restart -d 'restart roles, so that they read changed settings'
complete -c pcapdj -n __fish_use_subcommand -f -a import -d 'queue capture files; with --watch, also those that arrive later'
complete -c pcapdj -n __fish_use_subcommand -f -a status -d 'show queue, current file, gate, dispatchers and analyzer'
complete -c pcapdj -n __fish_use_subcommand -f -a events -d 'show what happened in the lane, or to one file'
complete -c pcapdj -n __fish_use_subcommand -f -a metrics -d 'serve or write metrics of the lane for Prometheus'
complete -c pcapdj -n __fish_use_subcommand -f -a limits -d 'show or change the disk limits while it runs'
complete -c pcapdj -n __fish_use_subcommand -f -a gate -d 'hold or open the disk gate by hand'
complete -c pcapdj -n __fish_use_subcommand -f -a reclaim -d 'make room: remove captures that were fed, or show them'
complete -c pcapdj -n __fish_use_subcommand -f -a suspend -d 'pause feeding, even in the middle of a file'
complete -c pcapdj -n __fish_use_subcommand -f -a resume -d 'continue feeding after `suspend`'
complete -c pcapdj -n __fish_use_subcommand -f -a queue -d 'show the queue in order; remove names, or move them to an end'
complete -c pcapdj -n __fish_use_subcommand -f -a skip -d 'give up the file that is fed, or whose storage is away'
complete -c pcapdj -n __fish_use_subcommand -f -a finish -d 'end the stream, so that the analyzer completes its output'
complete -c pcapdj -n __fish_use_subcommand -f -a forget -d 'remove a dispatcher that is out of service'
complete -c pcapdj -n __fish_use_subcommand -f -a failed -d 'list the files that failed, and why; --retry queues them again'
complete -c pcapdj -n __fish_use_subcommand -f -a whence -d 'find the capture and packet of an alert; cut its session out'
complete -c pcapdj -n __fish_use_subcommand -f -a journal -d 'show which files were fed, when, and what was unusual'
complete -c pcapdj -n __fish_use_subcommand -f -a report -d 'show gaps, overlaps and cut packets of captures, or of what was fed'
complete -c pcapdj -n __fish_use_subcommand -f -a requeue -d 'queue processed or failed files again'
complete -c pcapdj -n __fish_use_subcommand -f -a dispatch -d 'stream authorized files into the pipe'
complete -c pcapdj -n __fish_use_subcommand -f -a control -d 'authorize files while the disks have room'
complete -c pcapdj -n __fish_use_subcommand -f -a consume -d 'start the analyzer and keep its stream alive'
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l preset -d 'the analyzer; default: suricata-extract where Suricata is installed, else summary' -x
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l logdir -d 'folder for the output; default: a new folder named after the first file' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l resume -d 'continue the run in --logdir: skip the files it fed'
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l recursive -d 'include folders inside folders'
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l order -d 'sort all files by name (natural order), or by the time of their first packets; default: keep the given order, and sort only the files of each folder, by time' -x -a 'name time'
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l expect -d 'a sha256sum file of objects that must be extracted whole' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l watch -d 'watch the disk of this path; repeatable, or one path per line in PCAPDJ_WATCH [default: --logdir, and the folder for temporary files]' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l min-free -d 'authorize no new file below this much *free* space, such as 20GiB or 10%; 0 = off [default: 10%]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l resume-free -d 'authorize again when this much is free [default: 1.5 x min-free]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l resume-after -d 'wait until that much was free for this long [default: 30s]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l suspend-free -d 'pause the running file below this much free space; 0 = off [default: 0.5 x min-free]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l min-free-inodes -d 'like --min-free, but for inodes; 0 = off [default: 5%]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l min-available-memory -d 'like --min-free, but for available memory [default: off]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l reserve -d 'authorize only a file whose output, FACTOR times its size, fits above min-free [default: off]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l force -d 'accept a min-free of 50 % or more'
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l max-gap -d 'warn when a file starts this long after the previous one ended; 0 = never' -x
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l on-linktype -d 'a file of another link type than the stream’s: fail it, begin a new stream, or rewrite raw IP, loopback and Linux cooked packets to Ethernet' -x -a 'fail new-stream ethernet'
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l precision -d 'the streams’ timestamp precision' -x -a 'first us ns'
complete -c pcapdj -n '__fish_seen_subcommand_from run' -l trust-group -d 'also use folders that members of their group, or owners of folders above, can write to'
complete -c pcapdj -n '__fish_seen_subcommand_from run' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from cat' -s h -l help -d 'show this help message and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from cat' -l order -d 'sort all files by their names, or by the time of their first packets; default: only the files of each folder, by time' -x -a 'name time'
complete -c pcapdj -n '__fish_seen_subcommand_from cat' -l precision -d 'timestamp precision; default: that of the first file' -x -a 'us ns'
complete -c pcapdj -n '__fish_seen_subcommand_from cat' -l on-linktype -d 'a file of another link type than the first one: skip it, or rewrite its raw IP, loopback and Linux cooked packets to Ethernet; default: fail' -x -a 'fail ethernet'
complete -c pcapdj -n '__fish_seen_subcommand_from sample' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from check' -l settings -d 'show each setting of the service, and where it comes from'
complete -c pcapdj -n '__fish_seen_subcommand_from check' -l monitor -d 'print one line about the running lane, as monitoring plugins do; exit 0 (OK), 1 (WARNING), 2 (CRITICAL), 3 (UNKNOWN)'
complete -c pcapdj -n '__fish_seen_subcommand_from check' -l expect -d 'with --monitor: a role that should run (dispatcher, controller, consumer, importer); default: those of supervisord.conf, else those that have reported' -x
complete -c pcapdj -n '__fish_seen_subcommand_from check' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from check' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from check' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from check' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'
complete -c pcapdj -n '__fish_seen_subcommand_from completion' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from init' -l preset -d 'the analyzer; default: suricata-extract where Suricata is installed, else summary' -x
complete -c pcapdj -n '__fish_seen_subcommand_from init' -l root -d 'feed only captures below this folder; may be given several times' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from init' -l force -d 'replace an existing supervisord.conf'
complete -c pcapdj -n '__fish_seen_subcommand_from init' -l trust-group -d 'also use folders that members of their group, or owners of folders above, can write to'
complete -c pcapdj -n '__fish_seen_subcommand_from init' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from up' -l foreground -d 'stay in the foreground, as systemd and containers need it'
complete -c pcapdj -n '__fish_seen_subcommand_from up' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from down' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from restart' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from import' -l watch -d 'keep running, and queue files that arrive in the folders'
complete -c pcapdj -n '__fish_seen_subcommand_from import' -l order -d 'sort all files by name (natural order), or by the time of their first packets; default: keep the given order, and sort only the files of each folder, by time' -x -a 'name time'
complete -c pcapdj -n '__fish_seen_subcommand_from import' -l recursive -s r -d 'include folders inside folders'
complete -c pcapdj -n '__fish_seen_subcommand_from import' -l again -d 'also queue files that were fed before'
complete -c pcapdj -n '__fish_seen_subcommand_from import' -s q -l queue -d 'the queue’s key' -x
complete -c pcapdj -n '__fish_seen_subcommand_from import' -l root -d 'refuse files outside this folder; may be given several times (variable: DIR:DIR)' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from import' -l fed-days -d 'with --watch: forget a fed file that is gone after this many days; 0 = never' -x
complete -c pcapdj -n '__fish_seen_subcommand_from import' -l captures-days -d 'with --watch: forget a fed capture after this many days; 0 = never' -x
complete -c pcapdj -n '__fish_seen_subcommand_from import' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from import' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from import' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from import' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from status' -l watch -d 'show it again every second until Ctrl-C'
complete -c pcapdj -n '__fish_seen_subcommand_from status' -l json -d 'print one JSON object instead'
complete -c pcapdj -n '__fish_seen_subcommand_from status' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from status' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from status' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from status' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from events' -l since -d 'events since a time, or how long ago (2h, 3d); default: 1d; with --file: all' -x
complete -c pcapdj -n '__fish_seen_subcommand_from events' -l file -d 'only events of this file, by name or last part; show also where it is' -x
complete -c pcapdj -n '__fish_seen_subcommand_from events' -l kind -d 'only events of this kind, such as gate or analyzer_failing; repeatable' -x
complete -c pcapdj -n '__fish_seen_subcommand_from events' -l follow -s f -d 'keep showing new events until Ctrl-C'
complete -c pcapdj -n '__fish_seen_subcommand_from events' -l json -d 'print each event as a line of JSON'
complete -c pcapdj -n '__fish_seen_subcommand_from events' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from events' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from events' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from events' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from metrics' -l listen -d 'serve them; without a host on 127.0.0.1 only' -x
complete -c pcapdj -n '__fish_seen_subcommand_from metrics' -l textfile -d 'write them once, for the textfile collector of node_exporter' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from metrics' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from metrics' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from metrics' -l lane -d 'a lane; repeatable, or one per line in PCAPDJ_LANE' -x
complete -c pcapdj -n '__fish_seen_subcommand_from metrics' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from limits' -f -a 'show set unset'
complete -c pcapdj -n '__fish_seen_subcommand_from limits' -l force -d 'accept a min-free of 50 % or more: that much is kept *free*'
complete -c pcapdj -n '__fish_seen_subcommand_from limits' -l dry-run -d 'show what would change on the disks, and change nothing'
complete -c pcapdj -n '__fish_seen_subcommand_from limits' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from limits' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from limits' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from limits' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from gate' -f -a 'open hold auto accept'
complete -c pcapdj -n '__fish_seen_subcommand_from gate' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from gate' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from gate' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from gate' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from reclaim' -f -a 'now pause resume'
complete -c pcapdj -n '__fish_seen_subcommand_from reclaim' -l dry-run -d 'show which files would be removed, and why others stay'
complete -c pcapdj -n '__fish_seen_subcommand_from reclaim' -l reclaim -d 'what to do with captures that were fed, the oldest first, when their disk is short' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from reclaim' -l root -d 'refuse files outside this folder; may be given several times (variable: DIR:DIR)' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from reclaim' -l keep-last -d 'never reclaim this many of the newest files of the lane, and of each open stream' -x
complete -c pcapdj -n '__fish_seen_subcommand_from reclaim' -l keep-within -d 'never reclaim files that were fed less than this long ago, such as 7d; 0 = no such limit' -x
complete -c pcapdj -n '__fish_seen_subcommand_from reclaim' -l free -d 'make room until this much is free [default: resume-free of each disk]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from reclaim' -l if-short -d 'only on disks that are short, as the controller does'
complete -c pcapdj -n '__fish_seen_subcommand_from reclaim' -l json -d 'print the result as JSON'
complete -c pcapdj -n '__fish_seen_subcommand_from reclaim' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from reclaim' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from reclaim' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from reclaim' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from suspend' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from suspend' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from suspend' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from suspend' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from resume' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from resume' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from resume' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from resume' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from queue' -f -a 'list remove first last'
complete -c pcapdj -n '__fish_seen_subcommand_from queue' -l from -d 'list: begin at this place in the queue' -x
complete -c pcapdj -n '__fish_seen_subcommand_from queue' -l most -d 'list: show at most this many names; 0 = all' -x
complete -c pcapdj -n '__fish_seen_subcommand_from queue' -l dry-run -d 'show which names match, and change nothing'
complete -c pcapdj -n '__fish_seen_subcommand_from queue' -l json -d 'list: print JSON lines'
complete -c pcapdj -n '__fish_seen_subcommand_from queue' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from queue' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from queue' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from queue' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from skip' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from skip' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from skip' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from skip' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from finish' -l now -d 'end it after the current file, even if more files are queued'
complete -c pcapdj -n '__fish_seen_subcommand_from finish' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from finish' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from finish' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from finish' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from forget' -l requeue -d 'put its current file at the head of the queue'
complete -c pcapdj -n '__fish_seen_subcommand_from forget' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from forget' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from forget' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from forget' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from failed' -l retry -d 'queue the files again'
complete -c pcapdj -n '__fish_seen_subcommand_from failed' -l forget -d 'remove the entries about captures that were overwritten before they were fed'
complete -c pcapdj -n '__fish_seen_subcommand_from failed' -l json -d 'print the entries as JSON lines'
complete -c pcapdj -n '__fish_seen_subcommand_from failed' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from failed' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from failed' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from failed' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l log -d 'the analyzer’s log folder: it names the stream, and has the flow records' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l stream -d 'the id of the events’ stream' -x
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l sid -d 'only alerts of this signature' -x
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l flow-id -d 'only events of this flow' -x
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l all -d 'with --log: all events, not only alerts'
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l at -d 'instead of events: a time, as 2026-11-24T10:30:00Z' -x
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l until -d 'with --at: the end of a time range' -x
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l host -d 'with --at: only packets of this IP address; given twice: between the two' -x
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l port -d 'with --at: the port of each host' -x
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l protocol -d 'with --at: tcp, udp, icmp ..' -x
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l write -s w -d 'cut the sessions out into a new file' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l json -d 'print JSON lines'
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l root -d 'refuse files outside this folder; may be given several times (variable: DIR:DIR)' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from whence' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -l since -d 'only files from this time on' -x
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -l until -d 'only files up to this time' -x
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -l times -d '--since and --until are about when a file was fed, or about its packets' -x -a 'fed packets'
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -l stream -d 'only files with packets in this stream' -x
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -l verdict -d 'only files with this verdict' -x -a 'processed failed removed'
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -l last -d 'only the newest entries, at most this many' -x
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -l json -d 'print JSON lines'
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -l csv -d 'print comma-separated values'
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -l print0 -d 'print only paths, for xargs -0: those of files that are unchanged'
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -l root -d 'refuse files outside this folder; may be given several times (variable: DIR:DIR)' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from journal' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l recursive -d 'include folders inside folders'
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l order -d 'sort all files by their packets, or by name' -x -a 'name time'
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l quick -d 'read only the first and last packets; show only gaps and overlaps'
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l gap -d 'report a pause between files that is longer than this as a gap' -x
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l since -d 'only files from this time on' -x
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l until -d 'only files up to this time' -x
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l times -d '--since and --until are about when a file was fed, or about its packets' -x -a 'fed packets'
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l stream -d 'only files of the journal that were fed into this stream' -x
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l svg -d 'draw the time line into a new file' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l all -d 'show each file, not only unusual ones'
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l json -d 'print JSON lines, the sums last'
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from report' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from report' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from requeue' -l stream -d 'all processed files of this stream, for example after its analyzer died' -x
complete -c pcapdj -n '__fish_seen_subcommand_from requeue' -l since -d 'only files from this time on' -x
complete -c pcapdj -n '__fish_seen_subcommand_from requeue' -l until -d 'only files up to this time' -x
complete -c pcapdj -n '__fish_seen_subcommand_from requeue' -l times -d '--since and --until are about when a file was fed, or about its packets' -x -a 'fed packets'
complete -c pcapdj -n '__fish_seen_subcommand_from requeue' -l yes -d 'with --since or --until: queue the files; else they are only shown'
complete -c pcapdj -n '__fish_seen_subcommand_from requeue' -l into-open-stream -d 'allow packets of another time in the open stream'
complete -c pcapdj -n '__fish_seen_subcommand_from requeue' -l root -d 'refuse files outside this folder; may be given several times (variable: DIR:DIR)' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from requeue' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from requeue' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from requeue' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from requeue' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -s b -l pipe -d 'the named pipe to feed' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -s s -l server -d 'Redis’s host' -x
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -s p -l port -d 'Redis’s port' -x
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -s q -l queue -d 'the queue’s key' -x
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l launcher -d 'the launcher’s socket; without it, start the analyzer by hand' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l id -d 'this dispatcher’s name in Redis; default: the pipe’s path' -x
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l follow -l drain -d 'when the queue is empty, keep waiting (follow) or exit (drain)'
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l take -d 'the end of the queue to take from; tail: for producers that use LPUSH' -x -a 'head tail'
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l precision -d 'the streams’ timestamp precision' -x -a 'first us ns'
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l on-linktype -d 'a file of another link type than the stream’s: fail it, begin a new stream, or rewrite raw IP, loopback and Linux cooked packets to Ethernet' -x -a 'fail new-stream ethernet'
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l idle-eof -d 'end the stream after this long without a file; 0 = never' -x
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l root -d 'refuse files outside this folder; may be given several times (variable: DIR:DIR)' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l max-gap -d 'warn when a file starts this long after the previous one ended; 0 = never' -x
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l storage-timeout -d 'fail a file whose folder has been gone for this long; 0 = never. A file system that is not mounted is always waited for' -x
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l journal-entries -d 'about how many entries the journal keeps; ’pcapdj check’ shows the memory they take' -x
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -l journal-days -d 'remove entries of the journal after this many days' -x
complete -c pcapdj -n '__fish_seen_subcommand_from dispatch' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l watch -d 'watch the disk of this path; repeatable, or one path per line in PCAPDJ_WATCH [default: --logdir and --redis-data]' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l logdir -d 'the analyzer’s log folder' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l redis-data -d 'the embedded Redis’s data folder [default: var/redis beside a supervisord.conf, without a URL]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l min-free -d 'authorize no new file below this much *free* space, such as 20GiB or 10%; 0 = off [default: 10%]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l resume-free -d 'authorize again when this much is free [default: 1.5 x min-free]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l resume-after -d 'wait until that much was free for this long [default: 30s]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l suspend-free -d 'pause the running file below this much free space; 0 = off [default: 0.5 x min-free]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l min-free-inodes -d 'like --min-free, but for inodes; 0 = off [default: 5%]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l min-available-memory -d 'like --min-free, but for available memory [default: off]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l reserve -d 'authorize only a file whose output, FACTOR times its size, fits above min-free [default: off]' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l force -d 'accept a min-free of 50 % or more'
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l between -d 'run this command before each file; the gate holds while it fails' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l between-timeout -d 'kill the command of --between after this long' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l reclaim -d 'what to do with captures that were fed, the oldest first, when their disk is short' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l root -d 'refuse files outside this folder; may be given several times (variable: DIR:DIR)' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l keep-last -d 'never reclaim this many of the newest files of the lane, and of each open stream' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l keep-within -d 'never reclaim files that were fed less than this long ago, such as 7d; 0 = no such limit' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l auth-type -d 'type of the authorization key; several dispatchers of one lane need set' -x -a 'string set'
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l check -d 'print what the running controller decides; exit 0: open, 3: not open, 69: no controller'
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l as-started -d 'with --check: print what a controller with these options would decide'
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l on-event -d 'run this command (no shell) when the gate changes, the analyzer fails, a file is poison or storage goes away; PCAPDJ_EVENT_KIND, PCAPDJ_EVENT_SENTENCE and others describe the event' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from control' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from control' -s h -l help -d 'show the help and exit'
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -l preset -d 'the analyzer: suricata, suricata-extract, zeek, tshark, tcpdump, tcpflow, summary; default suricata-extract' -x
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -l socket -d 'the socket that the dispatcher connects to' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -s b -l pipe -d 'the named pipe to make' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -l logdir -d 'the folder of results; each stream gets its own folder in it' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -l analyzer-user -d 'run the analyzer as this user; only for root' -x
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -l flush-timeout -d 'how long an analyzer may run after the end of its input' -x
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -l restart-pause -d 'wait this long before restarting an analyzer that died; doubled after each failure, up to 60 times this and 60 s' -x
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -l stall-timeout -d 'restart an analyzer that has read nothing for this long; 0 = never' -x
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -l on-event -d 'run this command (no shell) when the gate changes, the analyzer fails, a file is poison or storage goes away; PCAPDJ_EVENT_KIND, PCAPDJ_EVENT_SENTENCE and others describe the event' -x
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -l redis-url -d 'redis://, rediss:// or unix://; else the socket of the service in this folder, else port 6379' -x
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -l redis-password-file -d 'a file with Redis’s password' -r -F
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -l lane -d 'a prefix for all keys: one lane per sensor' -x
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -l trust-group -d 'also use folders that members of their group, or owners of folders above, can write to'
complete -c pcapdj -n '__fish_seen_subcommand_from consume' -s h -l help -d 'show the help and exit'
