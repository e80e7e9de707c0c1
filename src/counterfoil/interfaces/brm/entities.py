"""How entities of BillingPlatform stand on ours: data only.

Where an entity of theirs hides one of ours with another meaning under the same name, ours is
there under ``CF_`` and its name.
"""

from counterfoil.interfaces.brm.mapping import Joined, Mapped, Theirs

_ADDRESS = (
    Theirs("Address1", "street"),
    Theirs("City", "city"),
    Theirs("State", "region"),
    Theirs("Zip", "postal_code"),
    Theirs("Country", "country"),
)

ACCOUNT = Mapped(
    name="ACCOUNT",
    entity="account",
    fields=(
        Theirs("Name", "name"),
        Theirs("Status", "status", {"ACTIVE": "active", "CLOSED": "closed"}),
        Theirs("ParentAccountId", "parent_id"),
        Theirs("ExternalKey", "external_id"),
    ),
    ignored=("AccountTypeId", "RateHierarchy", "InvoiceAtThisLevel", "Description"),
)

BILLING_PROFILE = Mapped(
    name="BILLING_PROFILE",
    entity="billing_profile",
    fields=(
        Theirs("AccountId", "account_id"),
        Theirs("BillTo", "bill_to_name"),
        Theirs("Attention", "attention"),
        *_ADDRESS,
        Theirs("Email", "email"),
        Theirs("CurrencyCode", "currency"),
        Theirs("TimeZoneId", "time_zone"),
        Theirs("MonthlyBillingDate", "cycle_day"),
        Theirs("PaymentTermDays", "payment_terms_days"),
        Theirs("PoNumber", "purchase_order"),
        Theirs("NationalIdentityNumber", "tax_id"),
    ),
    constant={"BillingCycle": "MONTHLY"},
    ignored=(
        *("BillingMethod", "InvoiceDeliveryMethod", "InvoiceApprovalFlag", "ManualCloseFlag"),
        *("CalendarType", "EventBasedBilling", "Phone", "Fax", "BillingEntity"),
    ),
)

CONTACT = Mapped(
    name="CONTACT",
    entity="contact",
    fields=(
        Theirs("AccountId", "account_id"),
        Theirs("Name", "name"),
        Theirs("Email", "email"),
        Theirs("Phone", "phone"),
        Theirs("ExternalKey", "external_id"),
    ),
)

CONTRACT = Mapped(
    name="CONTRACT",
    entity="contract",
    fields=(
        Theirs("AccountId", "account_id"),
        Theirs("ContractNumber", "external_id"),
        Theirs("Name", "name"),
        Theirs("StartDate", "start_date"),
        Theirs("EndDate", "end_date"),
    ),
    constant={"ContractStatus": "ACTIVE", "OnEndDate": "Terminate"},
    defaults={"name": "external_id"},
)

PRODUCT = Mapped(
    name="PRODUCT",
    entity="charge",
    fields=(
        Theirs("Name", "name"),
        Theirs("ExternalKey", "external_id"),
        Theirs("PackageId", "rate_plan_id"),
    ),
    constant={"Status": "ACTIVE"},
)

PACKAGE = Mapped(
    name="PACKAGE",
    entity="rate_plan",
    fields=(Theirs("Name", "name"), Theirs("ExternalKey", "external_id")),
)

PACKAGE_PRODUCT = Mapped(
    name="PACKAGE_PRODUCT",
    entity="charge",
    fields=(
        Theirs("PackageId", "rate_plan_id"),
        Theirs("ProductId", "id", target="PRODUCT"),
        Theirs("Name", "name"),
    ),
    derived=True,
)

ACCOUNT_PACKAGE = Mapped(
    name="ACCOUNT_PACKAGE",
    entity="subscription",
    fields=(
        Theirs("AccountId", "account_id"),
        Theirs("PackageId", "rate_plan_id"),
        Theirs("ContractId", "contract_id"),
        Theirs("StartDate", "start_date"),
        Theirs("EndDate", "end_date"),
        Theirs("BillingCycleStartDate", "anchor_date"),
        Theirs("TrialEndDate", "trial_end"),
        Theirs("ExternalKey", "external_id"),
    ),
    constant={"Status": "ACTIVE"},
    asked=("BillingIdentifier",),
)

ACCOUNT_PRODUCT = Mapped(
    name="ACCOUNT_PRODUCT",
    entity="subscription_charge",
    fields=(
        Theirs("AccountId", "package.account_id"),
        Theirs("ProductId", "charge_id"),
        Theirs("AccountPackageId", "subscription_id"),
        Theirs("ContractId", "package.contract_id"),
        Theirs("Name", "product.name"),
        Theirs("Quantity", "quantity"),
        Theirs("StartDate", "start_date"),
        Theirs("EndDate", "end_date"),
        Theirs("BillingCycleStartDate", "package.anchor_date"),
        Theirs("TrialEndDate", "package.trial_end"),
        Theirs("ExternalKey", "package.external_id"),
    ),
    joins=(
        Joined("package", "subscription", "id", "subscription_id"),
        Joined("product", "charge", "id", "charge_id"),
    ),
    constant={"Status": "ACTIVE"},
    asked=("BillingIdentifier",),
)

CONTRACT_CURRENCY = Mapped(
    name="CONTRACT_CURRENCY",
    entity="contract",
    fields=(
        Theirs("ContractId", "id", target="CONTRACT"),
        Theirs("CurrencyCode", "profile.currency"),
    ),
    joins=(Joined("profile", "billing_profile", "account_id", "account_id"),),
    own=False,
    derived=True,
)

CONTRACT_RATE = Mapped(
    name="CONTRACT_RATE",
    entity="price",
    fields=(
        Theirs("ContractId", "contract.id", target="CONTRACT"),
        Theirs("ProductId", "charge_id"),
        Theirs("CurrencyCode", "currency"),
        Theirs("StartDate", "valid_from"),
        Theirs("EndDate", "valid_to"),
    ),
    joins=(Joined("contract", "contract", "external_id", "contract_external_id"),),
    fixed={"layer": "contract"},
    ignored=("ContractRateLabel", "Name"),
)

PRICING = Mapped(
    name="PRICING",
    entity="price_tier",
    fields=(
        Theirs("ContractRateId", "price_id", target="CONTRACT_RATE"),
        Theirs("ProductId", "price.charge_id", target="PRODUCT"),
        Theirs("CurrencyCode", "price.currency"),
        Theirs("EffectiveDate", "price.valid_from"),
        Theirs("EndDate", "price.valid_to"),
        Theirs("Rate", "unit_amount"),
        Theirs("LowerBand", "from_quantity"),
        Theirs("UpperBand", "up_to", nothing="-1"),
        Theirs("BlockSize", "price.package_size"),
        Theirs("MinCharge", "price.minimum_amount"),
    ),
    joins=(Joined("price", "price", "id", "price_id"),),
    constant={"RerateFlag": "0"},
    ignored=("RateOrder",),
)

INVOICE = Mapped(
    name="INVOICE",
    entity="invoice",
    fields=(
        Theirs("BillingProfileId", "profile.id", target="BILLING_PROFILE"),
        Theirs("InvoiceNumber", "number"),
        Theirs("Status", "state", {"CURRENT": "draft", "CLOSED": "final"}),
        Theirs("CurrencyCode", "currency"),
        Theirs("ClosedDate", "finalized_at"),
        Theirs("DueDate", "due_date"),
        Theirs("GrandTotalAmount", "total"),
    ),
    joins=(Joined("profile", "billing_profile", "account_id", "account_id"),),
)

ACTIVITY = Mapped(
    name="ACTIVITY",
    entity="rated_charge",
    fields=(
        Theirs("AccountId", "package.account_id"),
        Theirs("ProductId", "provided.charge_id"),
        Theirs("AccountProductId", "subscription_charge_id"),
        Theirs("AccountPackageId", "provided.subscription_id"),
        Theirs("InvoiceId", "invoice_id"),
        Theirs("ContractId", "package.contract_id"),
        Theirs("ActivityDate", "service_start"),
        Theirs("SubscriptionFromDate", "service_start"),
        Theirs("SubscriptionToDate", "service_end"),
        Theirs("Quantity", "quantity"),
        Theirs("RatedAmount", "amount"),
        Theirs("CostUnrounded", "exact_amount"),
        Theirs("CurrencyCode", "currency"),
        Theirs("RateSource", "layer"),
        Theirs("ContractRateId", "price_id", target="CONTRACT_RATE"),
    ),
    joins=(
        Joined("provided", "subscription_charge", "id", "subscription_charge_id"),
        Joined("package", "subscription", "id", "provided.subscription_id"),
    ),
)

USAGE_IDENTIFIER = Mapped(
    name="USAGE_IDENTIFIER",
    entity="usage_identifier",
    fields=(
        Theirs("UsageIdentifier", "identifier"),
        Theirs("AccountPackageId", "subscription_id"),
    ),
)

ACTIVITY_COLLECTOR = Mapped(
    name="ACTIVITY_COLLECTOR",
    entity="collector",
    fields=(Theirs("ActivityCollectorName", "external_id"),),
)

PAYMENT = Mapped(
    name="PAYMENT",
    entity="payment",
    fields=(
        Theirs("BillingProfileId", "profile.id", target="BILLING_PROFILE"),
        Theirs("Amount", "amount"),
        Theirs("PaymentDate", "received_on"),
        Theirs(
            "PaymentType",
            "method",
            {
                "TRANSFER": "transfer",
                "CREDIT CARD": "card",
                "ACH": "direct_debit",
                "CHECK": "check",
                "CASH": "cash",
                "OTHER": "other",
            },
        ),
        Theirs("CurrencyCode", "currency"),
        Theirs("PaymentNote", "reference"),
        Theirs("ExternalReferenceId", "request_key"),
    ),
    joins=(Joined("profile", "billing_profile", "account_id", "account_id"),),
    asked=("Autoallocate",),
)

PAYMENT_ALLOCATION = Mapped(
    name="PAYMENT_ALLOCATION",
    entity="allocation",
    fields=(
        Theirs("PaymentItemId", "payment_id"),
        Theirs("InvoiceId", "invoice_id"),
        Theirs("Amount", "amount"),
    ),
)

BULK_API_REQUEST = Mapped(
    name="BULK_API_REQUEST",
    entity="extract",
    fields=(
        Theirs("RequestName", "name"),
        Theirs("RequestMethod", "method", {"QUERY": "query", "RETRIEVE": "retrieve"}),
        Theirs("RequestBody", "statement"),
        Theirs("RetrieveEntityName", "entity"),
        Theirs("Columns", "columns"),
        Theirs("ResponseFormat", "format", {"JSON": "json", "CSV": "csv"}),
        Theirs("RequestsPerBatch", "records_per_batch"),
        Theirs(
            "Status",
            "status",
            {"PENDING": "pending", "COMPLETE": "complete", "FAILED": "failed"},
        ),
        Theirs("ErrorMessage", "message"),
    ),
)

ENTITIES: tuple[Mapped, ...] = (
    ACCOUNT,
    BILLING_PROFILE,
    CONTACT,
    PRODUCT,
    PACKAGE,
    PACKAGE_PRODUCT,
    CONTRACT,
    CONTRACT_CURRENCY,
    CONTRACT_RATE,
    PRICING,
    ACCOUNT_PACKAGE,
    ACCOUNT_PRODUCT,
    USAGE_IDENTIFIER,
    ACTIVITY_COLLECTOR,
    INVOICE,
    ACTIVITY,
    PAYMENT,
    PAYMENT_ALLOCATION,
    BULK_API_REQUEST,
)
"""The first of those over one entity of ours is where its references lead to."""
