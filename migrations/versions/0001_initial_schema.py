"""initial schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("public_key", sa.String(length=255), nullable=False),
        sa.Column("broker_user", sa.String(length=255), nullable=False),
        sa.Column("broker_password", sa.Text(), nullable=False),
        sa.Column("last_seen", sa.Double(), nullable=False),
        sa.Column("incarnation", sa.String(length=255), nullable=False),
        sa.Column("report_sequence", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
        sa.UniqueConstraint("live", name=op.f("uq_agents_live")),
    )
    op.create_index(op.f("ix_agents_removed"), "agents", ["removed"], unique=False)
    op.create_table(
        "configuration",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_configuration")),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "disk_offerings",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("display_text", sa.String(length=255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("customized", sa.Boolean(), nullable=False),
        sa.Column("storage_type", sa.String(length=32), nullable=False),
        sa.Column("tags", sa.String(length=255), nullable=False),
        sa.Column("display", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("sort_key", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disk_offerings")),
        sa.UniqueConstraint("live", name=op.f("uq_disk_offerings_live")),
    )
    op.create_index(op.f("ix_disk_offerings_removed"), "disk_offerings", ["removed"], unique=False)
    op.create_table(
        "domains",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("parent_id", sa.String(length=36), nullable=True),
        sa.Column("path", sa.String(length=400), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("network_domain", sa.String(length=255), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["parent_id"], ["domains.id"], name=op.f("fk_domains_parent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domains")),
        sa.UniqueConstraint("live", name=op.f("uq_domains_live")),
    )
    op.create_index(op.f("ix_domains_parent_id"), "domains", ["parent_id"], unique=False)
    op.create_index(op.f("ix_domains_path"), "domains", ["path"], unique=False)
    op.create_index(op.f("ix_domains_removed"), "domains", ["removed"], unique=False)
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=255), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "network_offerings",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("display_text", sa.String(length=255), nullable=False),
        sa.Column("traffic_type", sa.String(length=32), nullable=False),
        sa.Column("guest_ip_type", sa.String(length=32), nullable=False),
        sa.Column("availability", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("conserve_mode", sa.Boolean(), nullable=False),
        sa.Column("specify_vlan", sa.Boolean(), nullable=False),
        sa.Column("egress_default", sa.Boolean(), nullable=False),
        sa.Column("broadcast", sa.Boolean(), nullable=False),
        sa.Column("network_rate", sa.Integer(), nullable=True),
        sa.Column("services", sa.JSON(), nullable=False),
        sa.Column("sort_key", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_network_offerings")),
        sa.UniqueConstraint("live", name=op.f("uq_network_offerings_live")),
    )
    op.create_index(op.f("ix_network_offerings_removed"), "network_offerings", ["removed"], unique=False)
    op.create_table(
        "os_categories",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_os_categories")),
        sa.UniqueConstraint("live", name=op.f("uq_os_categories_live")),
    )
    op.create_index(op.f("ix_os_categories_removed"), "os_categories", ["removed"], unique=False)
    op.create_table(
        "regions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("endpoint", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_regions")),
        sa.UniqueConstraint("name", name=op.f("uq_regions_name")),
    )
    op.create_table(
        "roles",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint("live", name=op.f("uq_roles_live")),
    )
    op.create_index(op.f("ix_roles_removed"), "roles", ["removed"], unique=False)
    op.create_table(
        "service_offerings",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("display_text", sa.String(length=255), nullable=False),
        sa.Column("cpus", sa.Integer(), nullable=False),
        sa.Column("cpu_mhz", sa.Integer(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.Column("storage_type", sa.String(length=32), nullable=False),
        sa.Column("host_tags", sa.String(length=255), nullable=False),
        sa.Column("storage_tags", sa.String(length=255), nullable=False),
        sa.Column("offer_ha", sa.Boolean(), nullable=False),
        sa.Column("limit_cpu_use", sa.Boolean(), nullable=False),
        sa.Column("customized", sa.Boolean(), nullable=False),
        sa.Column("root_disk_size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("sort_key", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_offerings")),
        sa.UniqueConstraint("live", name=op.f("uq_service_offerings_live")),
    )
    op.create_index(op.f("ix_service_offerings_removed"), "service_offerings", ["removed"], unique=False)
    op.create_table(
        "zones",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("network_type", sa.String(length=32), nullable=False),
        sa.Column("allocation_state", sa.String(length=32), nullable=False),
        sa.Column("dns1", sa.String(length=255), nullable=False),
        sa.Column("dns2", sa.String(length=255), nullable=True),
        sa.Column("internal_dns1", sa.String(length=255), nullable=False),
        sa.Column("internal_dns2", sa.String(length=255), nullable=True),
        sa.Column("guest_cidr", sa.String(length=255), nullable=False),
        sa.Column("network_domain", sa.String(length=255), nullable=True),
        sa.Column("local_storage", sa.Boolean(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_zones")),
        sa.UniqueConstraint("live", name=op.f("uq_zones_live")),
    )
    op.create_index(op.f("ix_zones_removed"), "zones", ["removed"], unique=False)
    op.create_table(
        "accounts",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("domain_id", sa.String(length=36), nullable=False),
        sa.Column("type", sa.Integer(), nullable=False),
        sa.Column("role_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("network_domain", sa.String(length=255), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_accounts_domain_id")),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name=op.f("fk_accounts_role_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("live", name=op.f("uq_accounts_live")),
        sa.UniqueConstraint("number", name=op.f("uq_accounts_number")),
    )
    op.create_index(op.f("ix_accounts_domain_id"), "accounts", ["domain_id"], unique=False)
    op.create_index(op.f("ix_accounts_removed"), "accounts", ["removed"], unique=False)
    op.create_table(
        "agent_commands",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("workflow_id", sa.String(length=36), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("undoing", sa.Boolean(), nullable=False),
        sa.Column("agent_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=110), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("arguments", sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("sent", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("deadline", sa.Double(), nullable=False),
        sa.Column("answer", sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_agent_commands_agent_id")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_agent_commands")),
        sa.UniqueConstraint("id", name=op.f("uq_agent_commands_id")),
    )
    op.create_index(op.f("ix_agent_commands_agent_id"), "agent_commands", ["agent_id"], unique=False)
    op.create_index("ix_agent_commands_due", "agent_commands", ["status", "due_at"], unique=False)
    op.create_index(op.f("ix_agent_commands_subject"), "agent_commands", ["subject"], unique=False)
    op.create_index(
        "ix_agent_commands_workflow", "agent_commands", ["workflow_id", "position", "undoing"], unique=False
    )
    op.create_table(
        "image_stores",
        sa.Column("zone_id", sa.String(length=36), nullable=True),
        sa.Column("agent_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("driver", sa.String(length=32), nullable=False),
        sa.Column("url", sa.String(length=255), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_image_stores_agent_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_image_stores_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_stores")),
        sa.UniqueConstraint("live", name=op.f("uq_image_stores_live")),
    )
    op.create_index(op.f("ix_image_stores_removed"), "image_stores", ["removed"], unique=False)
    op.create_index(op.f("ix_image_stores_zone_id"), "image_stores", ["zone_id"], unique=False)
    op.create_table(
        "inventories",
        sa.Column("agent_id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("incarnation", sa.String(length=255), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_inventories_agent_id")),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("pk_inventories")),
    )
    op.create_table(
        "os_types",
        sa.Column("category_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["category_id"], ["os_categories.id"], name=op.f("fk_os_types_category_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_os_types")),
        sa.UniqueConstraint("live", name=op.f("uq_os_types_live")),
    )
    op.create_index(op.f("ix_os_types_category_id"), "os_types", ["category_id"], unique=False)
    op.create_index(op.f("ix_os_types_removed"), "os_types", ["removed"], unique=False)
    op.create_table(
        "physical_networks",
        sa.Column("zone_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("isolation_methods", sa.String(length=255), nullable=False),
        sa.Column("broadcast_domain_range", sa.String(length=255), nullable=False),
        sa.Column("tags", sa.String(length=255), nullable=False),
        sa.Column("vlan", sa.String(length=255), nullable=False),
        sa.Column("key_start", sa.BigInteger(), nullable=False),
        sa.Column("key_end", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_physical_networks_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_physical_networks")),
        sa.UniqueConstraint("live", name=op.f("uq_physical_networks_live")),
    )
    op.create_index(op.f("ix_physical_networks_removed"), "physical_networks", ["removed"], unique=False)
    op.create_index(op.f("ix_physical_networks_zone_id"), "physical_networks", ["zone_id"], unique=False)
    op.create_table(
        "pods",
        sa.Column("zone_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("gateway", sa.String(length=255), nullable=False),
        sa.Column("netmask", sa.String(length=255), nullable=False),
        sa.Column("start_ip", sa.String(length=255), nullable=False),
        sa.Column("end_ip", sa.String(length=255), nullable=True),
        sa.Column("allocation_state", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_pods_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pods")),
        sa.UniqueConstraint("live", name=op.f("uq_pods_live")),
    )
    op.create_index(op.f("ix_pods_removed"), "pods", ["removed"], unique=False)
    op.create_index(op.f("ix_pods_zone_id"), "pods", ["zone_id"], unique=False)
    op.create_table(
        "tunnel_keys",
        sa.Column("zone_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("network_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_tunnel_keys_zone_id")),
        sa.PrimaryKeyConstraint("zone_id", "key", name=op.f("pk_tunnel_keys")),
        sa.UniqueConstraint("network_id", name=op.f("uq_tunnel_keys_network_id")),
    )
    op.create_table(
        "client_tokens",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("token", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_client_tokens_account_id")),
        sa.PrimaryKeyConstraint("account_id", "token", name=op.f("pk_client_tokens")),
    )
    op.create_table(
        "clusters",
        sa.Column("zone_id", sa.String(length=36), nullable=False),
        sa.Column("pod_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("hypervisor", sa.String(length=32), nullable=False),
        sa.Column("cluster_type", sa.String(length=32), nullable=False),
        sa.Column("allocation_state", sa.String(length=32), nullable=False),
        sa.Column("managed_state", sa.String(length=32), nullable=False),
        sa.Column("cpu_overcommit", sa.Float(), nullable=False),
        sa.Column("memory_overcommit", sa.Float(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["pod_id"], ["pods.id"], name=op.f("fk_clusters_pod_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_clusters_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clusters")),
        sa.UniqueConstraint("live", name=op.f("uq_clusters_live")),
    )
    op.create_index(op.f("ix_clusters_pod_id"), "clusters", ["pod_id"], unique=False)
    op.create_index(op.f("ix_clusters_removed"), "clusters", ["removed"], unique=False)
    op.create_index(op.f("ix_clusters_zone_id"), "clusters", ["zone_id"], unique=False)
    op.create_table(
        "events",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("level", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=True),
        sa.Column("user_id", sa.String(length=36), nullable=True),
        sa.Column("source", sa.String(length=255), nullable=False),
        sa.Column("resource_type", sa.String(length=64), nullable=False),
        sa.Column("resource_id", sa.String(length=36), nullable=True),
        sa.Column("workflow_id", sa.String(length=36), nullable=True),
        sa.Column("start_number", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_events_account_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_events")),
        sa.UniqueConstraint("id", name=op.f("uq_events_id")),
    )
    op.create_index(op.f("ix_events_account_id"), "events", ["account_id"], unique=False)
    op.create_index(op.f("ix_events_created"), "events", ["created"], unique=False)
    op.create_index(op.f("ix_events_resource_id"), "events", ["resource_id"], unique=False)
    op.create_table(
        "networks",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("display_text", sa.String(length=255), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("zone_id", sa.String(length=36), nullable=False),
        sa.Column("offering_id", sa.String(length=36), nullable=False),
        sa.Column("physical_network_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.BigInteger(), nullable=False),
        sa.Column("cidr", sa.String(length=255), nullable=False),
        sa.Column("gateway", sa.String(length=255), nullable=False),
        sa.Column("netmask", sa.String(length=255), nullable=False),
        sa.Column("network_domain", sa.String(length=255), nullable=False),
        sa.Column("mtu", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_networks_account_id")),
        sa.ForeignKeyConstraint(["offering_id"], ["network_offerings.id"], name=op.f("fk_networks_offering_id")),
        sa.ForeignKeyConstraint(
            ["physical_network_id"], ["physical_networks.id"], name=op.f("fk_networks_physical_network_id")
        ),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_networks_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_networks")),
        sa.UniqueConstraint("live", name=op.f("uq_networks_live")),
    )
    op.create_index(op.f("ix_networks_account_id"), "networks", ["account_id"], unique=False)
    op.create_index(op.f("ix_networks_removed"), "networks", ["removed"], unique=False)
    op.create_index(op.f("ix_networks_zone_id"), "networks", ["zone_id"], unique=False)
    op.create_table(
        "resource_limits",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("resource", sa.String(length=32), nullable=False),
        sa.Column("maximum", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_resource_limits_account_id")),
        sa.PrimaryKeyConstraint("account_id", "resource", name=op.f("pk_resource_limits")),
    )
    op.create_table(
        "resource_use",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("vms", sa.Integer(), nullable=False),
        sa.Column("cpus", sa.Integer(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.Column("volumes", sa.Integer(), nullable=False),
        sa.Column("primary_storage", sa.BigInteger(), nullable=False),
        sa.Column("networks", sa.Integer(), nullable=False),
        sa.Column("public_addresses", sa.Integer(), nullable=False),
        sa.Column("templates", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_resource_use_account_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_resource_use")),
    )
    op.create_table(
        "ssh_key_pairs",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=255), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_ssh_key_pairs_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ssh_key_pairs")),
        sa.UniqueConstraint("live", name=op.f("uq_ssh_key_pairs_live")),
    )
    op.create_index(op.f("ix_ssh_key_pairs_account_id"), "ssh_key_pairs", ["account_id"], unique=False)
    op.create_index(op.f("ix_ssh_key_pairs_removed"), "ssh_key_pairs", ["removed"], unique=False)
    op.create_table(
        "tags",
        sa.Column("resource_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("resource_type", sa.String(length=32), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_tags_account_id")),
        sa.PrimaryKeyConstraint("resource_id", "key", name=op.f("pk_tags")),
    )
    op.create_index(op.f("ix_tags_account_id"), "tags", ["account_id"], unique=False)
    op.create_table(
        "templates",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("display_text", sa.String(length=255), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("zone_id", sa.String(length=36), nullable=True),
        sa.Column("image_store_id", sa.String(length=36), nullable=True),
        sa.Column("os_type_id", sa.String(length=36), nullable=False),
        sa.Column("hypervisor", sa.String(length=32), nullable=False),
        sa.Column("format", sa.String(length=32), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("requested_checksum", sa.String(length=255), nullable=False),
        sa.Column("checksum", sa.String(length=255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("physical_size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("bits", sa.Integer(), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("is_featured", sa.Boolean(), nullable=False),
        sa.Column("is_extractable", sa.Boolean(), nullable=False),
        sa.Column("requires_hvm", sa.Boolean(), nullable=False),
        sa.Column("password_enabled", sa.Boolean(), nullable=False),
        sa.Column("ssh_key_enabled", sa.Boolean(), nullable=False),
        sa.Column("dynamically_scalable", sa.Boolean(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("sort_key", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_templates_account_id")),
        sa.ForeignKeyConstraint(["image_store_id"], ["image_stores.id"], name=op.f("fk_templates_image_store_id")),
        sa.ForeignKeyConstraint(["os_type_id"], ["os_types.id"], name=op.f("fk_templates_os_type_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_templates_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_templates")),
        sa.UniqueConstraint("live", name=op.f("uq_templates_live")),
    )
    op.create_index(op.f("ix_templates_account_id"), "templates", ["account_id"], unique=False)
    op.create_index(op.f("ix_templates_image_store_id"), "templates", ["image_store_id"], unique=False)
    op.create_index(op.f("ix_templates_removed"), "templates", ["removed"], unique=False)
    op.create_index(op.f("ix_templates_zone_id"), "templates", ["zone_id"], unique=False)
    op.create_table(
        "traffic_types",
        sa.Column("physical_network_id", sa.String(length=36), nullable=False),
        sa.Column("traffic_type", sa.String(length=32), nullable=False),
        sa.Column("kvm_label", sa.String(length=255), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(
            ["physical_network_id"], ["physical_networks.id"], name=op.f("fk_traffic_types_physical_network_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_traffic_types")),
        sa.UniqueConstraint("live", name=op.f("uq_traffic_types_live")),
    )
    op.create_index(
        op.f("ix_traffic_types_physical_network_id"), "traffic_types", ["physical_network_id"], unique=False
    )
    op.create_index(op.f("ix_traffic_types_removed"), "traffic_types", ["removed"], unique=False)
    op.create_table(
        "users",
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("first_name", sa.String(length=255), nullable=False),
        sa.Column("last_name", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("timezone", sa.String(length=255), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_users_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("live", name=op.f("uq_users_live")),
    )
    op.create_index(op.f("ix_users_account_id"), "users", ["account_id"], unique=False)
    op.create_index(op.f("ix_users_removed"), "users", ["removed"], unique=False)
    op.create_table(
        "vlan_ip_ranges",
        sa.Column("zone_id", sa.String(length=36), nullable=False),
        sa.Column("physical_network_id", sa.String(length=36), nullable=False),
        sa.Column("vlan", sa.String(length=255), nullable=False),
        sa.Column("gateway", sa.String(length=255), nullable=False),
        sa.Column("netmask", sa.String(length=255), nullable=False),
        sa.Column("start_ip", sa.String(length=255), nullable=False),
        sa.Column("end_ip", sa.String(length=255), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(
            ["physical_network_id"], ["physical_networks.id"], name=op.f("fk_vlan_ip_ranges_physical_network_id")
        ),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_vlan_ip_ranges_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vlan_ip_ranges")),
        sa.UniqueConstraint("live", name=op.f("uq_vlan_ip_ranges_live")),
    )
    op.create_index(op.f("ix_vlan_ip_ranges_removed"), "vlan_ip_ranges", ["removed"], unique=False)
    op.create_index(op.f("ix_vlan_ip_ranges_zone_id"), "vlan_ip_ranges", ["zone_id"], unique=False)
    op.create_table(
        "workflows",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("subject_type", sa.String(length=64), nullable=False),
        sa.Column("subject_id", sa.String(length=36), nullable=False),
        sa.Column("holds", sa.String(length=110), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("undoing", sa.Boolean(), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("waiting_for", sa.String(length=36), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("wake_at", sa.Double(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("memory", sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"), nullable=False),
        sa.Column("trace", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Integer(), nullable=False),
        sa.Column("command", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=True),
        sa.Column("user_id", sa.String(length=36), nullable=True),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("ended", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_workflows_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflows")),
        sa.UniqueConstraint("holds", name=op.f("uq_workflows_holds")),
    )
    op.create_index(op.f("ix_workflows_account_id"), "workflows", ["account_id"], unique=False)
    op.create_index(op.f("ix_workflows_subject_id"), "workflows", ["subject_id"], unique=False)
    op.create_index(op.f("ix_workflows_waiting_for"), "workflows", ["waiting_for"], unique=False)
    op.create_index(op.f("ix_workflows_wake_at"), "workflows", ["wake_at"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("api_key", sa.String(length=128), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("secret_key", sa.Text(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("expires", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_api_keys_user_id")),
        sa.PrimaryKeyConstraint("api_key", name=op.f("pk_api_keys")),
    )
    op.create_index(op.f("ix_api_keys_user_id"), "api_keys", ["user_id"], unique=False)
    op.create_table(
        "hosts",
        sa.Column("zone_id", sa.String(length=36), nullable=False),
        sa.Column("pod_id", sa.String(length=36), nullable=False),
        sa.Column("cluster_id", sa.String(length=36), nullable=False),
        sa.Column("agent_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("url", sa.String(length=255), nullable=False),
        sa.Column("address", sa.String(length=255), nullable=False),
        sa.Column("underlay_address", sa.String(length=255), nullable=False),
        sa.Column("hypervisor", sa.String(length=32), nullable=False),
        sa.Column("virt_type", sa.String(length=32), nullable=False),
        sa.Column("hypervisor_version", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("resource_state", sa.String(length=32), nullable=False),
        sa.Column("tags", sa.String(length=255), nullable=False),
        sa.Column("cpus", sa.Integer(), nullable=False),
        sa.Column("cpu_mhz", sa.Integer(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.Column("cpu_used", sa.BigInteger(), nullable=False),
        sa.Column("memory_used", sa.BigInteger(), nullable=False),
        sa.Column("disconnected", sa.Double(), nullable=False),
        sa.Column("boot_id", sa.String(length=255), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_hosts_agent_id")),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_hosts_cluster_id")),
        sa.ForeignKeyConstraint(["pod_id"], ["pods.id"], name=op.f("fk_hosts_pod_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_hosts_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hosts")),
        sa.UniqueConstraint("live", name=op.f("uq_hosts_live")),
    )
    op.create_index(op.f("ix_hosts_cluster_id"), "hosts", ["cluster_id"], unique=False)
    op.create_index(op.f("ix_hosts_removed"), "hosts", ["removed"], unique=False)
    op.create_index(op.f("ix_hosts_zone_id"), "hosts", ["zone_id"], unique=False)
    op.create_table(
        "public_addresses",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("zone_id", sa.String(length=36), nullable=False),
        sa.Column("range_id", sa.String(length=36), nullable=False),
        sa.Column("address", sa.String(length=32), nullable=False),
        sa.Column("mac", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=True),
        sa.Column("network_id", sa.String(length=36), nullable=True),
        sa.Column("source_nat", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_public_addresses_account_id")),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_public_addresses_network_id")),
        sa.ForeignKeyConstraint(["range_id"], ["vlan_ip_ranges.id"], name=op.f("fk_public_addresses_range_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_public_addresses_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_public_addresses")),
        sa.UniqueConstraint("mac", name=op.f("uq_public_addresses_mac")),
        sa.UniqueConstraint("zone_id", "address", name=op.f("uq_public_addresses_zone_id_address")),
    )
    op.create_index(op.f("ix_public_addresses_network_id"), "public_addresses", ["network_id"], unique=False)
    op.create_index(op.f("ix_public_addresses_range_id"), "public_addresses", ["range_id"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("session_key_hash", sa.String(length=64), nullable=False),
        sa.Column("last_used", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"], unique=False)
    op.create_table(
        "routers",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("network_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("zone_id", sa.String(length=36), nullable=False),
        sa.Column("host_id", sa.String(length=36), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_routers_account_id")),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_routers_host_id")),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_routers_network_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_routers_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routers")),
        sa.UniqueConstraint("live", name=op.f("uq_routers_live")),
        sa.UniqueConstraint("number", name=op.f("uq_routers_number")),
    )
    op.create_index(op.f("ix_routers_host_id"), "routers", ["host_id"], unique=False)
    op.create_index(op.f("ix_routers_network_id"), "routers", ["network_id"], unique=False)
    op.create_index(op.f("ix_routers_removed"), "routers", ["removed"], unique=False)
    op.create_table(
        "storage_pools",
        sa.Column("zone_id", sa.String(length=36), nullable=False),
        sa.Column("pod_id", sa.String(length=36), nullable=True),
        sa.Column("cluster_id", sa.String(length=36), nullable=True),
        sa.Column("host_id", sa.String(length=36), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("scope", sa.String(length=32), nullable=False),
        sa.Column("driver", sa.String(length=32), nullable=False),
        sa.Column("url", sa.String(length=255), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("tags", sa.String(length=255), nullable=False),
        sa.Column("capacity", sa.BigInteger(), nullable=False),
        sa.Column("allocated", sa.BigInteger(), nullable=False),
        sa.Column("overprovision", sa.Float(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_storage_pools_cluster_id")),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_storage_pools_host_id")),
        sa.ForeignKeyConstraint(["pod_id"], ["pods.id"], name=op.f("fk_storage_pools_pod_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_storage_pools_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_storage_pools")),
        sa.UniqueConstraint("live", name=op.f("uq_storage_pools_live")),
    )
    op.create_index(op.f("ix_storage_pools_host_id"), "storage_pools", ["host_id"], unique=False)
    op.create_index(op.f("ix_storage_pools_removed"), "storage_pools", ["removed"], unique=False)
    op.create_index(op.f("ix_storage_pools_zone_id"), "storage_pools", ["zone_id"], unique=False)
    op.create_table(
        "vms",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("display_name", sa.String(length=255), nullable=False),
        sa.Column("instance_name", sa.String(length=255), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("zone_id", sa.String(length=36), nullable=False),
        sa.Column("host_id", sa.String(length=36), nullable=True),
        sa.Column("last_host_id", sa.String(length=36), nullable=True),
        sa.Column("template_id", sa.String(length=36), nullable=False),
        sa.Column("service_offering_id", sa.String(length=36), nullable=False),
        sa.Column("os_type_id", sa.String(length=36), nullable=False),
        sa.Column("hypervisor", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("cpus", sa.Integer(), nullable=False),
        sa.Column("cpu_mhz", sa.Integer(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.Column("group", sa.String(length=255), nullable=False),
        sa.Column("display", sa.Boolean(), nullable=False),
        sa.Column("ha_enabled", sa.Boolean(), nullable=False),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("key_pairs", sa.JSON(), nullable=False),
        sa.Column("public_keys", sa.Text(), nullable=False),
        sa.Column(
            "user_data",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
        ),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_vms_account_id")),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_vms_host_id")),
        sa.ForeignKeyConstraint(["last_host_id"], ["hosts.id"], name=op.f("fk_vms_last_host_id")),
        sa.ForeignKeyConstraint(["os_type_id"], ["os_types.id"], name=op.f("fk_vms_os_type_id")),
        sa.ForeignKeyConstraint(
            ["service_offering_id"], ["service_offerings.id"], name=op.f("fk_vms_service_offering_id")
        ),
        sa.ForeignKeyConstraint(["template_id"], ["templates.id"], name=op.f("fk_vms_template_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_vms_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vms")),
        sa.UniqueConstraint("instance_name", name=op.f("uq_vms_instance_name")),
        sa.UniqueConstraint("live", name=op.f("uq_vms_live")),
        sa.UniqueConstraint("number", name=op.f("uq_vms_number")),
    )
    op.create_index(op.f("ix_vms_account_id"), "vms", ["account_id"], unique=False)
    op.create_index(op.f("ix_vms_host_id"), "vms", ["host_id"], unique=False)
    op.create_index(op.f("ix_vms_removed"), "vms", ["removed"], unique=False)
    op.create_index(op.f("ix_vms_service_offering_id"), "vms", ["service_offering_id"], unique=False)
    op.create_index(op.f("ix_vms_state"), "vms", ["state"], unique=False)
    op.create_index(op.f("ix_vms_template_id"), "vms", ["template_id"], unique=False)
    op.create_index(op.f("ix_vms_zone_id"), "vms", ["zone_id"], unique=False)
    op.create_table(
        "nics",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("vm_id", sa.String(length=36), nullable=True),
        sa.Column("router_id", sa.String(length=36), nullable=True),
        sa.Column("network_id", sa.String(length=36), nullable=False),
        sa.Column("host_id", sa.String(length=36), nullable=True),
        sa.Column("mac", sa.String(length=32), nullable=False),
        sa.Column("address", sa.String(length=32), nullable=False),
        sa.Column("device", sa.Integer(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_nics_host_id")),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=op.f("fk_nics_network_id")),
        sa.ForeignKeyConstraint(["router_id"], ["routers.id"], name=op.f("fk_nics_router_id")),
        sa.ForeignKeyConstraint(["vm_id"], ["vms.id"], name=op.f("fk_nics_vm_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nics")),
        sa.UniqueConstraint("mac", name=op.f("uq_nics_mac")),
        sa.UniqueConstraint("network_id", "address", name=op.f("uq_nics_network_id_address")),
    )
    op.create_index(op.f("ix_nics_host_id"), "nics", ["host_id"], unique=False)
    op.create_index(op.f("ix_nics_router_id"), "nics", ["router_id"], unique=False)
    op.create_index(op.f("ix_nics_vm_id"), "nics", ["vm_id"], unique=False)
    op.create_table(
        "volumes",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("zone_id", sa.String(length=36), nullable=False),
        sa.Column("vm_id", sa.String(length=36), nullable=True),
        sa.Column("pool_id", sa.String(length=36), nullable=True),
        sa.Column("template_id", sa.String(length=36), nullable=True),
        sa.Column("disk_offering_id", sa.String(length=36), nullable=True),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("format", sa.String(length=32), nullable=False),
        sa.Column("device", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("live", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_volumes_account_id")),
        sa.ForeignKeyConstraint(["disk_offering_id"], ["disk_offerings.id"], name=op.f("fk_volumes_disk_offering_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["storage_pools.id"], name=op.f("fk_volumes_pool_id")),
        sa.ForeignKeyConstraint(["template_id"], ["templates.id"], name=op.f("fk_volumes_template_id")),
        sa.ForeignKeyConstraint(["vm_id"], ["vms.id"], name=op.f("fk_volumes_vm_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zones.id"], name=op.f("fk_volumes_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volumes")),
        sa.UniqueConstraint("live", name=op.f("uq_volumes_live")),
    )
    op.create_index(op.f("ix_volumes_account_id"), "volumes", ["account_id"], unique=False)
    op.create_index(op.f("ix_volumes_pool_id"), "volumes", ["pool_id"], unique=False)
    op.create_index(op.f("ix_volumes_removed"), "volumes", ["removed"], unique=False)
    op.create_index(op.f("ix_volumes_vm_id"), "volumes", ["vm_id"], unique=False)
    op.create_index(op.f("ix_volumes_zone_id"), "volumes", ["zone_id"], unique=False)


def downgrade() -> None:
    op.drop_table("volumes")
    op.drop_table("nics")
    op.drop_table("vms")
    op.drop_table("storage_pools")
    op.drop_table("routers")
    op.drop_table("sessions")
    op.drop_table("public_addresses")
    op.drop_table("hosts")
    op.drop_table("api_keys")
    op.drop_table("workflows")
    op.drop_table("vlan_ip_ranges")
    op.drop_table("users")
    op.drop_table("traffic_types")
    op.drop_table("templates")
    op.drop_table("tags")
    op.drop_table("ssh_key_pairs")
    op.drop_table("resource_use")
    op.drop_table("resource_limits")
    op.drop_table("networks")
    op.drop_table("events")
    op.drop_table("clusters")
    op.drop_table("client_tokens")
    op.drop_table("tunnel_keys")
    op.drop_table("pods")
    op.drop_table("physical_networks")
    op.drop_table("os_types")
    op.drop_table("inventories")
    op.drop_table("image_stores")
    op.drop_table("agent_commands")
    op.drop_table("accounts")
    op.drop_table("zones")
    op.drop_table("service_offerings")
    op.drop_table("roles")
    op.drop_table("regions")
    op.drop_table("os_categories")
    op.drop_table("network_offerings")
    op.drop_table("leases")
    op.drop_table("domains")
    op.drop_table("disk_offerings")
    op.drop_table("counters")
    op.drop_table("configuration")
    op.drop_table("agents")
