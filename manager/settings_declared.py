"""The settings that there are: each declared once, with type, default, range, scopes and group."""

from __future__ import annotations

from collections.abc import Iterator

from manager.models import Account, Cluster, Domain, StoragePool, Zone
from manager.models.resources import RESOURCES
from manager.setting import Setting
from manager.settings_access import ACCESS

NO_LIMIT = -1

_ALERTS, _EVENTS, _USAGE = ("Management Server", "Alerts"), ("Management Server", "Events"), ("Usage Server", "Usage")
_WEBHOOKS = ("Management Server", "Webhooks")
_VMS, _HOSTS = ("Compute", "Virtual Machines"), ("Compute", "Hosts")
_REQUESTS, _PROJECTS = ("Access", "Requests"), ("Access", "Projects")
_JOBS, _LOGIN = ("Management Server", "Jobs"), ("Access", "Login")

_CIDRS = r"([0-9A-Fa-f.:]+/\d{1,3}(, ?[0-9A-Fa-f.:]+/\d{1,3})*)?"


def _limits() -> Iterator[Setting]:
    for resource in RESOURCES:
        for holder, name, default in resource.scopes():
            article = "an" if holder == "account" else "a"
            yield Setting(
                name,
                default,
                f"how many {resource.label} {article} {holder} may have; -1 for any number",
                f"{holder.capitalize()} Defaults",
                NO_LIMIT,
                group=("Access", f"{holder.capitalize()}s"),
            )


def _threshold(name: str, what: str) -> Setting:
    described = f"the part of {what} from which on an alert is raised"
    return Setting(f"{name}.capacity.notificationthreshold", 0.75, described, "Alert", 0, 1, group=_ALERTS)


_NOTICES = (
    Setting(
        "alert.drift.minutes",
        10,
        "minutes that drift or an orphan lasts until an alert is raised",
        "Alert",
        group=_ALERTS,
    ),
    Setting("alert.purge.delay", 0, "days that alerts are kept; 0 for ever", "Alert", 0, 36500, group=_ALERTS),
    _threshold("cluster.cpu.allocated", "a cluster's CPU that is claimed"),
    _threshold("cluster.memory.allocated", "a cluster's memory that is claimed"),
    _threshold("cluster.storage", "a cluster's primary storage that is used"),
    _threshold("cluster.storage.allocated", "a cluster's primary storage that is claimed"),
    _threshold("zone.secstorage", "a zone's secondary storage that is used"),
    _threshold("zone.virtualnetwork.publicip", "a zone's public addresses that are taken"),
    Setting("event.purge.delay", 15, "days that events are kept; 0 for ever", "Advanced", 0, 36500, group=_EVENTS),
    Setting(
        "usage.records.retention.days",
        0,
        "days that usage records are kept; 0 for ever",
        "Usage",
        0,
        36500,
        group=_USAGE,
    ),
    Setting(
        "usage.stats.job.aggregation.range",
        1440,
        "the minutes of use in one usage record",
        "Usage",
        1,
        1440,
        group=_USAGE,
    ),
    Setting(
        "webhook.allowed.networks",
        "",
        "private networks that webhooks may reach, as CIDRs separated by commas",
        "Webhook",
        pattern=_CIDRS,
        group=_WEBHOOKS,
    ),
    Setting(
        "webhook.deliveries.limit",
        10,
        "how many ended deliveries of a webhook are kept",
        "Webhook",
        1,
        1000,
        group=_WEBHOOKS,
    ),
    Setting("webhook.delivery.timeout", 10, "seconds until a delivery has failed", "Webhook", 1, 60, group=_WEBHOOKS),
    Setting("webhook.delivery.tries", 3, "how often a delivery is tried", "Webhook", 1, 20, group=_WEBHOOKS),
)

_DEVICES = tuple(
    Setting(name, 50, f"how many networks a {device} serves that is added without a capacity", "Advanced", 1, 4093)
    for name, device in (("external.firewall.default.capacity", "firewall"),
                         ("external.lb.default.capacity", "load balancer"))
)  # fmt: skip

_MTUS = (
    Setting(
        "allow.end.users.to.specify.vr.mtu",
        False,
        "users may choose the MTUs of their networks; else root administrators only",
        scopes=(Zone,),
        group=("Network", "Guest Networks"),
    ),
    Setting(
        "public.ip.address.quarantine.duration",
        0,
        "minutes for which a released public address is given to nobody but the account that had it; 0 for none",
        "Network",
        0,
        5256000,
        scopes=(Domain,),
        group=("Network", "Guest Networks"),
    ),
    Setting(
        "vr.private.interface.max.mtu",
        1458,
        "the largest MTU of a network's virtual machines, and that of those that ask for none: what the hosts' tunnels "
        "carry less 42 bytes of GRE; over VXLAN it is 8 less",
        "Advanced",
        576,
        65535,
        scopes=(Zone,),
        group=("Network", "Guest Networks"),
    ),
    Setting(
        "vr.public.interface.max.mtu",
        1500,
        "the largest MTU of a router's public interface, and that of networks that ask for none",
        "Advanced",
        576,
        65535,
        scopes=(Zone,),
        group=("Network", "Guest Networks"),
    ),
)

_ROUTER_HEALTH = (
    Setting(
        "router.health.checks.enabled",
        True,
        "hosts are asked now and then what is wrong with the routers that they run",
        group=("Network", "Guest Networks"),
    ),
    Setting(
        "router.health.checks.failures.to.recreate.vr",
        "",
        "names of health checks, with commas between: a router that newly fails one of them is made anew",
        group=("Network", "Guest Networks"),
    ),
    Setting(
        "router.health.checks.results.fetch.interval",
        10,
        "minutes between two looks at the routers of a host",
        "Advanced",
        1,
        1440,
        group=("Network", "Guest Networks"),
    ),
    Setting(
        "router.health.checks.to.exclude",
        "",
        "names of health checks, with commas between, whose results are not kept",
        group=("Network", "Guest Networks"),
    ),
)

_ALL = (
    *_NOTICES,
    *_DEVICES,
    *ACCESS,
    Setting("allow.user.create.projects", True, "users may make projects; else administrators only", group=_PROJECTS),
    Setting(
        "allow.user.expunge.recover.vm",
        False,
        "users may expunge and recover their virtual machines",
        scopes=(Domain, Account),
        group=_VMS,
    ),
    Setting(
        "cpu.overprovisioning.factor",
        1.0,
        "MHz given out for each MHz of a cluster's hosts; new clusters take the global value",
        "Advanced",
        1,
        100,
        scopes=(Cluster,),
        group=_HOSTS,
    ),
    Setting(
        "default.page.size",
        500,
        "the rows of a list without paging, and the largest page",
        "Advanced",
        1,
        100_000,
        group=("Management Server", "API"),
    ),
    Setting(
        "enforce.post.requests.and.timestamps",
        False,
        "refuse changes by GET and requests without expiry",
        "Secure",
        group=_REQUESTS,
    ),
    Setting(
        "denied.routes",
        "",
        "networks, with commas, that no static route of a VPC may overlap",
        "Network",
        networks=True,
        scopes=(Zone,),
        group=("Network", "Guest Networks"),
    ),
    Setting("expunge.delay", 86400, "seconds from destroying a virtual machine to expunging it", group=_VMS),
    Setting(
        "expunge.interval", 600, "seconds between looks for virtual machines to expunge", "Advanced", 1, group=_VMS
    ),
    *(
        Setting(f"packet.capture.{name}", default, text, "Network", least, most, group=("Network", "Guest Networks"))
        for name, default, text, least, most in (
            ("expire.hours", 24, "hours that a packet capture is kept", 1, 8760),
            ("max.bytes", 2**20, "the largest file of a packet capture", 4096, 2**22),
            ("max.packets", 10_000, "the most packets of a packet capture", 1, 100_000),
            ("max.per.account", 10, "how many packet captures an account may have", 0, 100),
            ("max.per.host", 4, "how many packet captures may be under way on a host", 0, 32),
            ("max.seconds", 300, "the most seconds of a packet capture", 1, 3600),
        )
    ),
    Setting(
        "remote.access.vpn.client.iprange",
        "10.1.2.1-10.1.2.8",
        "the addresses of a remote access VPN that is made without a range: the router's, and then those of its users",
        "Network",
        pattern=r"[0-9.]+-[0-9.]+",
        scopes=(Account,),
        group=("Network", "Guest Networks"),
    ),
    Setting(
        "remote.access.vpn.user.limit",
        8,
        "how many VPN users an account may have",
        "Network",
        scopes=(Account,),
        group=("Network", "Guest Networks"),
    ),
    Setting(
        "site2site.vpn.customergateway.subnets.limit",
        10,
        "how many networks there may be behind a VPN customer gateway",
        "Network",
        least=1,
        scopes=(Account,),
        group=("Network", "Guest Networks"),
    ),
    Setting(
        "site2site.vpn.vpngateway.connection.limit",
        4,
        "how many connections a VPN gateway may have",
        "Network",
        scopes=(Account,),
        group=("Network", "Guest Networks"),
    ),
    Setting(
        "guest.domain.suffix",
        "cs.cloud.internal",
        "the DNS suffix of guest networks that name none",
        "Network",
        pattern=r"[A-Za-z0-9]([A-Za-z0-9-]{0,62})(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62})){0,8}",
        scopes=(Zone,),
        group=("Network", "Guest Networks"),
    ),
    Setting(
        "host.down.seconds",
        60,
        "seconds without a sign of life until a host counts as down",
        "Advanced",
        5,
        86400,
        group=_HOSTS,
    ),
    Setting(
        "instance.lease.enabled", False, "virtual machines can have leases, and what ends them is done", group=_VMS
    ),
    Setting(
        "instance.lease.expiryevent.daysbefore",
        7,
        "days before the end of a lease that its owner is told by an event",
        "Advanced",
        0,
        36500,
        group=_VMS,
    ),
    Setting("job.expire.minutes", 1440, "minutes that ended jobs are kept", "Advanced", 1, group=_JOBS),
    Setting(
        "list.vm.default.details.stats",
        False,
        "lists of virtual machines show what guests do also where no details are asked for",
        group=_VMS,
    ),
    Setting(
        "mem.overprovisioning.factor",
        1.0,
        "bytes given out for each byte of a cluster's hosts; new clusters take the global value",
        "Advanced",
        1,
        100,
        scopes=(Cluster,),
        group=_HOSTS,
    ),
    Setting(
        "oauth2.allowed.networks",
        "",
        "private networks in which OAuth providers may be, as CIDRs separated by commas",
        "Secure",
        pattern=_CIDRS,
        group=_LOGIN,
    ),
    Setting("oauth2.enabled", False, "users may log in by OAuth providers", "Secure", group=_LOGIN),
    Setting(
        "oauth2.login.page",
        "",
        "the page of this server to which browsers come after a login at /client/oauth, with #sessionkey=; without "
        "one they get the answer of a login",
        "Secure",
        pattern=r"(/([A-Za-z0-9._~-][A-Za-z0-9._~/-]*)?)?",
        group=_LOGIN,
    ),
    Setting(
        "project.invite.required",
        False,
        "who is added to a project is asked first",
        "Project Defaults",
        group=_PROJECTS,
    ),
    Setting("usage.records.retention.days", 0, "days that usage records are kept; 0 for ever", "Usage", 0, 36500),
    Setting("usage.stats.job.aggregation.range", 1440, "the minutes of use in one usage record", "Usage", 1, 1440),
    Setting(
        "project.invite.timeout",
        86400,
        "seconds until an invitation to a project expires",
        "Project Defaults",
        1,
        group=_PROJECTS,
    ),
    Setting(
        "storage.overprovisioning.factor",
        2.0,
        "bytes given out for each byte of a storage pool; new pools take the global value",
        "Storage",
        1,
        100,
        scopes=(StoragePool,),
        group=("Storage", "Primary Storage"),
    ),
    Setting(
        "vm.userdata.max.length",
        32768,
        "the longest user data of a virtual machine, in bytes",
        "Advanced",
        0,
        2**20,
        group=_VMS,
    ),
    Setting("vm.destroy.forcestop", False, "power a virtual machine off when it is destroyed", group=_VMS),
    Setting(
        "vm.stats.increment.metrics",
        False,
        "figures of what guests do are sums since each was made; else what they grew by since the last but one report",
        group=_VMS,
    ),
    *_MTUS,
    *_ROUTER_HEALTH,
    Setting("vm.password.length", 12, "characters of a generated password", "Advanced", 8, 64, group=_VMS),
    *_limits(),
)

SETTINGS: dict[str, Setting] = {setting.name: setting for setting in _ALL}
